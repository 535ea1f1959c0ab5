"""Measure how much adapters change a model, by groups of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor
from soundloom.lora.adapter import Adapter
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.modules import group_of
from soundloom.lora.operations.weights import reading
from soundloom.lora.parallel import map_parallel

LARGE = 1.0  # relative change of a group that is worth a warning


@dataclass(frozen=True)
class GroupChange:
    """The change of a group of layers, relative to its weights: |W' - W| / |W| and |scale * up down| / |W|."""

    group: str
    layers: int
    change: float
    added: float


def measure(
    adapter: Adapter, weights: Mapping[str, LazyTensor], progress: Callable[[str], None] = lambda name: None
) -> list[GroupChange]:
    """Return the changes that an adapter makes at strength 1, by group, and for all layers under `all`."""

    def measure_layer(name: str) -> tuple[float, float, float]:
        progress(name)
        module = adapter.modules[name]
        down, up = module.factors()
        added = module.scale**2 * float(np.sum((up.T @ up) * (down @ down.T), dtype=np.float64))
        with reading(weights[name]) as weight:
            return _square(weight), _square(adapted_weight(weight, [AdapterPart(module)]) - weight), added

    squares: dict[str, list[tuple[float, float, float]]] = {}
    for name, found in zip(adapter.modules, map_parallel(measure_layer, adapter.modules), strict=True):
        squares.setdefault(group_of(name), []).append(found)
    squares["all"] = [one for group in list(squares.values()) for one in group]
    return [_group_change(group, values) for group, values in squares.items()]


def _group_change(group: str, squares: Sequence[tuple[float, float, float]]) -> GroupChange:
    weight, change, added = np.sum(squares, axis=0)
    size = weight or 1.0
    return GroupChange(group, len(squares), float(np.sqrt(change / size)), float(np.sqrt(added / size)))


def _square(matrix: Array) -> float:
    return float(np.sum(np.square(matrix, dtype=np.float64)))


def warnings_of(changes: Sequence[GroupChange]) -> list[str]:
    """Return warnings about groups that an adapter changes by more than their size."""
    large = [f"{one.group} ({one.change:.2f})" for one in changes if one.change > LARGE and one.group != "all"]
    if not large:
        return []
    return [f"it changes weights by more than their own size: {', '.join(large)}; it is probably overfitted"]
