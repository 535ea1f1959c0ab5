"""Compute adapters beside the weights of layers: see `lora.branches`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.engines.mlx.graph import fused
from soundloom.engines.mlx.paths import find
from soundloom.lora.branches import Branches, LayerBranch
from soundloom.lora.modules import CONDITIONER, TRANSFORMER

Product = Callable[[mx.array], mx.array]
PREFIXES = {"dit": TRANSFORMER, "conditioner": CONDITIONER}  # of a component's layers in adapter files
_RANK_MULTIPLE = 8  # matmuls of other ranks are slower; zeros fill the rest


class Branch(Protocol):
    """Computes a layer's output with adapters; layers that can be adapted hold one, or None.

    A module takes arrays, containers and modules that it holds for parameters: a branch must be none of these.
    """

    def __call__(self, x: mx.array, product: Product) -> mx.array:
        """Return the output for x (…, in) without the bias; `product` multiplies by the layer's weight."""
        ...


@fused
def scaled(x: mx.array, scale: mx.array) -> mx.array:
    """Multiply by a float32 scale; return the dtype of x."""
    return (x * scale).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class LowRankBranch:
    """The branch of one layer on the device. `down` (R, in) and `up` (out, R) are None without a low-rank part."""

    terms: tuple[tuple[mx.array | None, mx.array | None], ...]  # rows and columns, float32
    down: mx.array | None
    up: mx.array | None

    @classmethod
    def of(cls, branch: LayerBranch, dtype: mx.Dtype) -> LowRankBranch:
        """Copy a branch to the device; its factors become `dtype`, or float32 on a CPU.

        There, MLX accumulates in the dtype of its inputs, for which half precision is too coarse.
        """

        def vector(values: np.ndarray | None) -> mx.array | None:
            return None if values is None else mx.array(values)

        terms = tuple((vector(row), vector(col)) for row, col in branch.terms)
        factors = branch.factors()
        if factors is None:
            return cls(terms, None, None)
        padding = -branch.rank % _RANK_MULTIPLE
        down, up = np.pad(factors[0], ((0, padding), (0, 0))), np.pad(factors[1], ((0, 0), (0, padding)))
        dtype = mx.float32 if mx.default_device() == mx.cpu else dtype
        return cls(terms, mx.array(down).astype(dtype), mx.array(up).astype(dtype))

    def __call__(self, x: mx.array, product: Product) -> mx.array:
        y: mx.array | None = None
        for row, col in self.terms:
            part = product(x if col is None else scaled(x, col))
            part = part if row is None else scaled(part, row)
            y = part if y is None else y + part
        assert y is not None
        if self.down is None or self.up is None:
            return y
        dtype = self.down.dtype
        return mx.addmm(y.astype(dtype), x.astype(dtype) @ self.down.T, self.up.T).astype(y.dtype)

    def arrays(self) -> Iterator[mx.array]:
        """Yield all arrays."""
        yield from (vector for term in self.terms for vector in term if vector is not None)
        yield from (factor for factor in (self.down, self.up) if factor is not None)


class BranchSlots:
    """The sets of adapters of an engine, on its device, and which of them its networks use."""

    def __init__(self) -> None:
        self._sets: list[Branches | None] = []
        self._built: dict[tuple[str, int], dict[str, LowRankBranch]] = {}  # by component and slot
        self._installed: dict[str, list[Any]] = {}  # the layers of a component that hold a branch
        self._current: int | None = None

    def load(self, sets: Sequence[Branches | None], modules: Mapping[Any, nn.Module]) -> None:
        """Replace all sets; none is in use then."""
        self.use(None, modules)
        self._sets = list(sets)
        self._built.clear()

    def use(self, slot: int | None, modules: Mapping[Any, nn.Module]) -> None:
        """Let the networks compute with a set, or without adapters if None."""
        if slot is not None and not 0 <= slot < len(self._sets):
            raise IndexError(f"no slot {slot} among {len(self._sets)}")
        if slot == self._current:
            return
        self._current = slot
        for component, module in modules.items():
            self.install(component, module)

    def install(self, component: str, module: nn.Module) -> None:
        """Set the branches of a network, which may have just been loaded."""
        for held in self._installed.pop(component, ()):
            held.branch = None
        slot = self._current
        if slot is None or component not in PREFIXES or self._sets[slot] is None:
            return
        if (component, slot) not in self._built:
            self._built[component, slot] = self._build(component, slot, module)
        self._installed[component] = []
        for path, branch in self._built[component, slot].items():
            layer = find(module, path.split("."))
            layer.branch = branch
            self._installed[component].append(layer)

    def forget(self, component: str) -> None:
        """Drop the branches of a network that leaves memory."""
        self._installed.pop(component, None)
        for key in [key for key in self._built if key[0] == component]:
            del self._built[key]

    def _build(self, component: str, slot: int, module: nn.Module) -> dict[str, LowRankBranch]:
        branches, prefix = self._sets[slot], PREFIXES[component]
        built = {
            name.removeprefix(prefix): find(module, name.removeprefix(prefix).split(".")).make_branch(branch)
            for name, branch in (branches.layers.items() if branches else ())
            if name.startswith(prefix)
        }
        mx.eval([array for branch in built.values() for array in branch.arrays()])
        return built
