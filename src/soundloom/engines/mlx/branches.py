"""Compute adapters beside the weights of layers: see `lora.branches`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.engines.mlx.graph import fused
from soundloom.lora.branches import Branches, LayerBranch

Product = Callable[[mx.array], mx.array]


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
    """A `LayerBranch` on the device; the vectors of `terms` are float32, the factors multiply in their dtype."""

    terms: tuple[tuple[mx.array | None, mx.array | None], ...]  # rows and columns
    factors: tuple[mx.array, mx.array] | None  # down (R, in), up (out, R)

    @classmethod
    def of(cls, branch: LayerBranch, dtype: mx.Dtype) -> LowRankBranch:
        """Copy a branch to the device, its factors as `dtype`."""
        terms = tuple((_vector(term.row), _vector(term.col)) for term in branch.terms)
        factors = branch.factors()
        if factors is None:
            return cls(terms, None)
        down, up = (mx.array(factor).astype(dtype) for factor in factors)
        return cls(terms, (down, up))

    @property
    def arrays(self) -> list[mx.array]:
        vectors = (vector for term in self.terms for vector in term if vector is not None)
        return [*vectors, *(self.factors or ())]

    def __call__(self, x: mx.array, product: Product) -> mx.array:
        first, *others = self.terms
        y = _term(x, product, *first)
        for term in others:
            y = y + _term(x, product, *term)
        if self.factors is None:
            return y
        down, up = self.factors
        return mx.addmm(y.astype(up.dtype), x.astype(down.dtype) @ down.T, up.T).astype(y.dtype)


def _term(x: mx.array, product: Product, row: mx.array | None, col: mx.array | None) -> mx.array:
    y = product(x if col is None else scaled(x, col))
    return y if row is None else scaled(y, row)


def _vector(values: np.ndarray | None) -> mx.array | None:
    return None if values is None else mx.array(values)


class BranchSlots:
    """Sets of branches on the device, of which the layers of the engine's networks hold one or none.

    `dtypes` maps the prefixes of the networks in adapter files to the dtypes in which their factors multiply.
    """

    def __init__(self, dtypes: dict[str, mx.Dtype]) -> None:
        self._dtypes = dtypes
        self._slots: list[dict[str, LowRankBranch] | None] = []
        self._slot: int | None = None
        self._layers: dict[str, dict[str, Any]] = {}  # by prefix and name

    def load(self, slots: Sequence[Branches | None]) -> None:
        """Replace all slots; none is in use then."""
        self.use(None)
        self._slots.clear()
        for branches in slots:
            self._slots.append(None if branches is None else self._copied(branches))

    def use(self, slot: int | None) -> None:
        """Let layers compute with a slot, or with their weights alone if None."""
        if slot is not None and not 0 <= slot < len(self._slots):
            raise IndexError(f"no slot {slot} among {len(self._slots)}")
        if slot != self._slot:
            self._slot = slot
            for prefix in self._layers:
                self._assign(prefix)

    def attach(self, prefix: str, network: nn.Module) -> None:
        """Let the layers of a network that has been loaded compute with the slot in use."""
        modules: Any = network.named_modules()
        self._layers[prefix] = {prefix + path: layer for path, layer in modules if hasattr(layer, "branch")}
        self._assign(prefix)

    def detach(self, prefix: str) -> None:
        """Forget a network that is freed."""
        self._layers.pop(prefix, None)

    def _copied(self, branches: Branches) -> dict[str, LowRankBranch]:
        dtypes = {name: self._dtypes[f"{name.partition('.')[0]}."] for name in branches.layers}
        copied = {name: LowRankBranch.of(branch, dtypes[name]) for name, branch in branches.layers.items()}
        mx.eval([branch.arrays for branch in copied.values()])
        return copied

    def _assign(self, prefix: str) -> None:
        layers = self._layers[prefix]
        for layer in layers.values():
            layer.branch = None
        branches = None if self._slot is None else self._slots[self._slot]
        for name, branch in (branches or {}).items():
            if name.startswith(prefix):
                layers[name].branch = branch
