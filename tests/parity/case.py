"""A recorded case: NAME.json and NAME.safetensors, as `tests/golden/README.md` describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.checkpoints.formats.safetensors import read_safetensors

FLOOR = 2e-5  # of an output's peak: float32 products in another order
ADAPTER_FLOOR = 5e-5  # with adapters, whose singular vectors differ by 4e-6 of the weights between LAPACK libraries
MUSICGEN_FLOOR = 2e-6  # the same for MusicGen, as its cases suggest
DOUBLE = 1e-9  # recorded in double precision
EIGENVALUES = 1e-7  # error of the square root of a singular product of covariances
ROUNDING = 1e-10  # a peak that is rounding alone, as of the distance of a set to itself


@dataclass
class Case:
    """One case with its tensors; `path` is the JSON file.

    A case without calls runs those of another (`same_values_as`) with its own weights.
    """

    path: Path
    data: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.data = json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def tensors(self) -> dict[str, Any]:
        return read_safetensors(self.path.with_suffix(".safetensors"))

    @cached_property
    def _calls_case(self) -> Case:
        """The case whose calls this one runs."""
        return self if "calls" in self.data else self.beside(self.data["same_values_as"])

    def beside(self, file: str) -> Case:
        """Return the case of a file in the same folder."""
        return Case((self.path.parent / file).with_suffix(".json"))

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self._calls_case.data["calls"]

    def tensor(self, name: str) -> np.ndarray:
        """Return an input or output of a call."""
        return self._calls_case.tensors[name].numpy()

    def inputs(self, call: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs of a call: arrays, or lists of them."""
        return {
            name: [self.tensor(item) for item in key] if isinstance(key, list) else self.tensor(key)
            for name, key in call.get("inputs", {}).items()
        }

    def weights(self, prefix: str = "") -> dict[str, Any]:
        """Return the recorded weights under a prefix, without it."""
        start = "w." + prefix
        found = {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}
        return {name: tensor.renamed(name) for name, tensor in found.items()}

    def noise(self, listed: Any) -> Any:
        """Return an iterator over the recorded noise of a call, or None without noise."""
        if not isinstance(listed, list):
            return None
        return iter([self.tensor(item["tensor"]) for item in listed])


@dataclass(frozen=True)
class Check:
    """The error of one output of one call."""

    call: str
    output: str
    error: float  # largest difference over the output's largest magnitude; inf for a wrong shape
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


def _tolerance(call: dict[str, Any], output: str) -> float:
    """Return the tolerance of an output, relative to its peak, from the noise measured when it was recorded."""
    if "fp32_vs_fp64" in call:
        noise = call["fp32_vs_fp64"].get(output, {"max_abs": 0.0, "out_abs_max": 1.0})
        return max(MUSICGEN_FLOOR, 20 * noise["max_abs"] / (noise["out_abs_max"] or 1.0))
    floor = ADAPTER_FLOOR if "adapters" in call.get("args", {}) else FLOOR
    return max(floor, 4 * call.get("hint", {}).get(output, 0.0))


def _double_tolerance(call: dict[str, Any]) -> float:
    return EIGENVALUES if call["fn"] == "frechet.per_item" else DOUBLE


def compare(call: dict[str, Any], output: str, found: np.ndarray, wanted: np.ndarray) -> Check:
    """Compare one output; integers and masks must be equal. NaN equals NaN.

    Outputs in double precision agree to 1e-9 of their peak, or absolutely where the peak is rounding alone. Distances
    of clips with fewer windows than dimensions were recorded by eigenvalues, which are 1e-7 off there.
    """
    exact = not np.issubdtype(wanted.dtype, np.floating)
    double = wanted.dtype == np.float64
    tolerance = 0.0 if exact else _double_tolerance(call) if double else _tolerance(call, output)
    found = np.asarray(found)
    if found.shape != wanted.shape:
        return Check(call["name"], output, float("inf"), tolerance, f"shape {found.shape}, recorded {wanted.shape}")
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    difference = np.where(np.isnan(found) & np.isnan(wanted), 0.0, np.abs(found - wanted)).max(initial=0.0)
    peak = np.abs(wanted[~np.isnan(wanted)]).max(initial=0.0)
    if double and peak < ROUNDING:
        peak = 0.0
    error = float(difference / peak) if peak else float(difference)
    return Check(call["name"], output, error if np.isfinite(error) else float("inf"), tolerance)
