"""Reduce the rank of adapters to the best approximation of their changes; magnitudes stay.

What to keep is a rank, or a share by one of three measures with the names and meanings of kohya's scripts: `sv_fro`
keeps a share of the Frobenius norm of the change, `sv_cumulative` a share of the sum of singular values, and `sv_ratio`
the singular values above a share of the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from soundloom.checkpoints.formats.tensors import Array
from soundloom.errors import RequestError, shown
from soundloom.lora.adapter import Adapter, ModuleAdapter, is_xs
from soundloom.lora.operations.build import build_adapter, build_module, described
from soundloom.lora.operations.low_rank import singular_values, truncated
from soundloom.lora.parallel import map_parallel

Measure = Literal["sv_fro", "sv_cumulative", "sv_ratio"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True)
class ResizedLayer:
    """What resizing did to a layer; `error` is |change - new change| / |change|, Frobenius norms."""

    name: str
    rank: int
    error: float


def resize(
    adapter: Adapter, *, rank: int | None = None, keep: float | None = None, measure: Measure = "sv_fro"
) -> tuple[Adapter, list[ResizedLayer]]:
    """Return an adapter of smaller rank, and what was lost in each layer.

    Give `rank`, or `keep` with a `measure`, which chooses a rank for each layer. Raises RequestError.
    """
    if is_xs(adapter.type):
        raise RequestError(
            f"{adapter.name} is of type {adapter.type}, whose rank is that of its bases",
            "convert it with `soundloom lora convert --to lora` first",
        )
    _check(adapter, rank, keep, measure)

    def resize_layer(module: ModuleAdapter) -> tuple[ModuleAdapter, ResizedLayer]:
        down, up = module.factors()
        values = singular_values(down, up)
        count = min(rank, module.rank) if rank is not None else kept_rank(values, keep or 1.0, measure)
        size = float(np.linalg.norm(values))
        error = float(np.linalg.norm(values[count:])) / size if size else 0.0
        return _resized(module, down, up, count), ResizedLayer(module.name, count, error)

    resized = list(map_parallel(resize_layer, adapter.modules.values()))
    modules, layers = {module.name: module for module, _ in resized}, [layer for _, layer in resized]
    done = {"command": "resize", "from": described(adapter), "rank": rank, "keep": keep, "measure": measure}
    kept = {key: value for key, value in adapter.config.items() if key not in ("rank", "alpha", "soundloom")}
    return build_adapter(adapter.name, adapter.type, modules, [adapter], done, kept), layers


def _check(adapter: Adapter, rank: int | None, keep: float | None, measure: str) -> None:
    if (rank is None) == (keep is None):
        raise RequestError("resizing needs either a rank or a share to keep", "--rank 8, or --keep 0.9")
    if rank is not None and not 1 <= rank <= max(module.rank for module in adapter.modules.values()):
        raise RequestError(f"{adapter.name} has rank {adapter.rank} and cannot get rank {rank}", "give a smaller rank")
    if measure not in MEASURES:
        raise RequestError(f"there is no measure {shown(measure)!r}", f"use {', '.join(MEASURES)}")
    if keep is not None and not (0 < keep <= 1 or (measure == "sv_ratio" and keep > 1)):
        raise RequestError(f"the share to keep must be above 0 and at most 1, found {keep:g}", "--keep 0.9")


def kept_rank(values: Array, keep: float, measure: Measure) -> int:
    """Return how many of the singular values, descending, a measure keeps; at least one.

    For `sv_ratio`, a `keep` above 1 is the ratio of the largest value to the smallest one kept.
    """
    if measure == "sv_ratio":
        return max(int(np.sum(values >= values[0] * (keep if keep <= 1 else 1 / keep))), 1)
    power, share = (2, keep**2) if measure == "sv_fro" else (1, keep)
    sums = np.cumsum(values**power)
    if not sums[-1]:
        return 1
    return min(int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))) + 1, len(values))


def _resized(module: ModuleAdapter, down: Array, up: Array, rank: int) -> ModuleAdapter:
    down, up = truncated(down, np.float32(module.scale) * up, rank)
    others = {kind: module.array(kind) for kind in module.tensors if kind.startswith("magnitude")}
    return build_module(module.name, module.type, 1.0, {"lora_A": down, "lora_B": up, **others})
