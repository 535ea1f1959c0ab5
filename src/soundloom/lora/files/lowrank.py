"""What PEFT, diffusers and kohya share: keys `LAYER.KIND`, in different words, with alpha and norms of rows.

PEFT says lora_A, lora_B and lora_magnitude_vector; kohya lora_down, lora_up, dora_scale, and alpha for each layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.errors import shown
from soundloom.lora.files.parts import mismatch, some

_KINDS = {
    "lora_A": "lora_A",
    "lora_down": "lora_A",
    "lora.down": "lora_A",
    "lora_B": "lora_B",
    "lora_up": "lora_B",
    "lora.up": "lora_B",
    "lora_magnitude_vector": "magnitude",
    "dora_scale": "magnitude",
    "alpha": "alpha",
}
_PREFIXES = ("base_model.model.", "diffusion_model.")
_WORDS = "|".join(re.escape(word) for word in _KINDS)
_KEY = re.compile(rf"(?P<layer>.+)\.(?P<word>{_WORDS})(?:\.default)?(?:\.weight)?")


@dataclass(frozen=True)
class LowRank:
    """The tensors of a layer under its name in the file. `alpha` is that of the file, None if it has none."""

    tensors: Mapping[str, LazyTensor]
    alpha: float | None = None

    @property
    def rank(self) -> int:
        """The rank; 1 without a lora_A of two axes, which later checks reject."""
        shape = self.tensors["lora_A"].shape if "lora_A" in self.tensors else ()
        return shape[0] if shape and shape[0] else 1


def is_low_rank(tensors: Mapping[str, LazyTensor]) -> bool:
    return any((match := _KEY.fullmatch(key)) and match["word"] != "alpha" for key in tensors)


def is_kohya(tensors: Mapping[str, LazyTensor]) -> bool:
    return any(".lora_up" in key or ".lora_down" in key for key in tensors)


def group(path: Path, tensors: Mapping[str, LazyTensor]) -> dict[str, LowRank]:
    """Group tensors by the layer's name in the file. Raises MismatchError for keys of other kinds."""
    split = {key: _KEY.fullmatch(key) for key in tensors}
    others = [key for key, match in split.items() if match is None]
    if others:
        raise mismatch(path, f"holds {len(others)} tensors of unknown kinds: {some(others)}", "known: A and B of LoRA")
    layers: dict[str, dict[str, LazyTensor]] = {}
    for key, match in split.items():
        assert match is not None  # `others` is empty
        kinds = layers.setdefault(match["layer"], {})
        kind = _KINDS[match["word"]]
        if kind in kinds:
            raise mismatch(path, f"holds {kind} of {shown(match['layer'])} twice")
        kinds[kind] = tensors[key]
    return {layer: LowRank(kinds, _alpha(path, layer, kinds.pop("alpha", None))) for layer, kinds in layers.items()}


def _alpha(path: Path, layer: str, tensor: LazyTensor | None) -> float | None:
    if tensor is None:
        return None
    values = np.asarray(tensor.numpy(), np.float64).reshape(-1)
    if values.size != 1 or not np.isfinite(values).all():
        raise mismatch(path, f"has an alpha of {shown(layer)} that is not one number")
    return float(values[0])


def without_prefix(layer: str) -> str:
    """Return a layer's name without the prefix of a program."""
    for prefix in _PREFIXES:
        layer = layer.removeprefix(prefix)
    return layer
