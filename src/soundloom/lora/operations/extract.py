"""Extract an adapter from the difference of two sets of weights.

Letters: W is the tuned weight and W0 that of the base, as matrices (out, in). The type `lora` takes the best
approximation of W - W0. `dora-rows` sets the row norms m of W exactly, which leaves a free scale c of each row: the
rows of W0 + B A need only point in the direction of those of W. It approximates diag(c) W - W0, first with c = n(W0) /
m, then with the c that fits the last approximation best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor
from soundloom.errors import MismatchError, RequestError, shown
from soundloom.lora.adapter import Adapter, ModuleAdapter
from soundloom.lora.arithmetic import EPS, AdapterPart, apply, row_norms
from soundloom.lora.operations.build import build_adapter, build_module
from soundloom.lora.operations.low_rank import best_factors, truncated
from soundloom.lora.operations.weights import reading
from soundloom.lora.parallel import map_parallel

ExtractedType = Literal["lora", "dora-rows"]
DEFAULT_RANK = 16
_ROUNDS = 50
_IMPROVEMENT = 0.99  # a round that reduces the squared residual less is the last
_UNCHANGED = 1e-6  # relative; a difference of roundings


@dataclass(frozen=True)
class Residual:
    """What extraction left out in a layer; squares of Frobenius norms of W - W0, of what is missing, and of W0."""

    name: str
    change: float
    missing: float
    weight: float


Extracted = tuple[ModuleAdapter, Residual] | None


def extract(
    tuned: Mapping[str, LazyTensor],
    base: Mapping[str, LazyTensor],
    rank: int = DEFAULT_RANK,
    adapter_type: ExtractedType = "lora",
    *,
    name: str = "extracted",
    config: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[Adapter, list[Residual]]:
    """Return an adapter that turns the weights `base` into `tuned`, by names as in adapter files, and what it misses.

    Layers whose weights agree are left out. Raises RequestError or MismatchError.
    """
    if rank < 1:
        raise RequestError(f"the rank must be at least 1, found {rank}")
    _require_same_shapes(tuned, base)

    def extract_one(layer: str) -> Extracted:
        progress(layer)
        with reading(base[layer]) as before, reading(tuned[layer]) as after:
            return extract_layer(layer, before, after, rank, adapter_type)

    modules, residuals = collect(map_parallel(extract_one, base))
    if not modules:
        raise MismatchError(
            "the weights of both models agree in all layers that an adapter may change",
            "name the tuned model first, then its base",
        )
    made = {"command": "extract", "rank": rank, **(provenance or {})}
    return build_adapter(name, adapter_type, modules, [], made, config), residuals


def _require_same_shapes(tuned: Mapping[str, LazyTensor], base: Mapping[str, LazyTensor]) -> None:
    for name in {**base, **tuned}:
        shapes = [weights[name].shape if name in weights else None for weights in (tuned, base)]
        if shapes[0] != shapes[1]:
            found = " and ".join("none" if shape is None else str(list(shape)) for shape in shapes)
            raise MismatchError(
                f"the models have other layers: {shown(name)} has the shapes {found}", "give two models of one size"
            )


def extract_layer(name: str, before: Array, after: Array, rank: int, adapter_type: ExtractedType = "lora") -> Extracted:
    """Return the adapter of one layer that turns W0 into W (out, in), and what it misses; None if both agree."""
    if np.linalg.norm(after - before) <= _UNCHANGED * np.linalg.norm(before):
        return None
    if adapter_type == "lora":
        down, up = best_factors(after - before, rank)
        module = build_module(name, "lora", 1.0, {"lora_A": down, "lora_B": up})
    else:
        module = _extract_rows(name, before, after, rank)
    return module, residual(module, before, after)


def collect(layers: Iterable[Extracted]) -> tuple[dict[str, ModuleAdapter], list[Residual]]:
    """Return the adapters of all layers that differ, by name, and what they miss."""
    found = [layer for layer in layers if layer is not None]
    return {module.name: module for module, _ in found}, [one for _, one in found]


def _extract_rows(name: str, before: Array, after: Array, rank: int) -> ModuleAdapter:
    """Alternate between the best B A for given scales c of rows, and the best c for given B A.

    After an exact start, B A follows with one step of subspace iteration each time, which needs only thin products.
    """
    magnitudes, sizes = row_norms(after), row_norms(before)
    inner = np.einsum("ij,ij->i", after, before)
    scales = sizes / (magnitudes + EPS)
    down, up = best_factors(scales[:, None] * after - before, rank)
    least = np.inf
    for _ in range(_ROUNDS):
        with_after, with_before = after @ down.T, before @ down.T
        scales = (inner + np.einsum("ir,ir->i", up, with_after)) / (magnitudes**2 + EPS)
        up, _ = np.linalg.qr(scales[:, None] * with_after - with_before)
        down = (up * scales[:, None]).T @ after - up.T @ before
        squares = float(np.sum(np.square(scales * magnitudes) - 2 * scales * inner + np.square(sizes)))
        missing = squares - float(np.sum(np.square(down, dtype=np.float64)))  # up is orthonormal
        if missing >= _IMPROVEMENT * least:
            break
        least = missing
    down, up = truncated(down, up, rank)
    return build_module(name, "dora-rows", 1.0, {"lora_A": down, "lora_B": up, "magnitude": magnitudes})


def residual(module: ModuleAdapter, before: Array, after: Array) -> Residual:
    """Measure how well an adapter at strength 1 turns W0 into W."""
    missing = after - apply(before, AdapterPart(module))
    change, left, weight = (
        float(np.sum(np.square(part, dtype=np.float64))) for part in (after - before, missing, before)
    )
    return Residual(module.name, change, left, weight)
