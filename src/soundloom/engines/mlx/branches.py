"""Compute adapters beside the weights of layers: see `lora.branches`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
import numpy as np

from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.mlx.graph import fused
from soundloom.lora.branches import LayerBranch

Product = Callable[[mx.array], mx.array]
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
    """The branch of one layer on its device.

    `terms` are the scales (row, col) of the weight, float32. The low-rank part is scale * up (down x), None without it.
    With `shared` scales, of the only term, the low-rank part is inside of them: row * (W + scale up down) * col.
    """

    terms: list[tuple[mx.array | None, mx.array | None]]
    factors: tuple[mx.array, mx.array] | None  # down (R, in), up (out, R)
    scale: float
    shared: bool

    @classmethod
    def of(cls, branch: LayerBranch, dtype: mx.Dtype, cache: FactorCache) -> LowRankBranch:
        """Copy a branch to the device; its factors become `dtype`, or float32 on a CPU.

        There, MLX accumulates in the dtype of its inputs, for which half precision is too coarse.
        """
        dtype = mx.float32 if mx.default_device() == mx.cpu else dtype
        terms = [(_vector(row), _vector(col)) for row, col in branch.terms]
        low = branch.single
        if low is not None:
            factors = cache.get(low.adapter, dtype, lambda: _factors(low.adapter.factors(), dtype))
            return cls(terms, factors, low.scale, shared=True)
        stacked = branch.factors()
        return cls(terms, None if stacked is None else _factors(stacked, dtype), 1.0, shared=False)

    def __call__(self, x: mx.array, product: Product) -> mx.array:
        if self.shared:
            ((row, col),) = self.terms
            x = x if col is None else scaled(x, col)
            y = self._add_low(product(x), x)
            return y if row is None else scaled(y, row)
        total: mx.array | None = None
        for row, col in self.terms:
            part = product(x if col is None else scaled(x, col))
            part = part if row is None else scaled(part, row)
            total = part if total is None else total + part
        assert total is not None
        return self._add_low(total, x)

    def _add_low(self, y: mx.array, x: mx.array) -> mx.array:
        if self.factors is None:
            return y
        down, up = self.factors
        low = x.astype(down.dtype) @ down.T
        return mx.addmm(y.astype(up.dtype), low, up.T, alpha=self.scale).astype(y.dtype)

    def arrays(self) -> Iterator[mx.array]:
        """Yield all arrays."""
        yield from (vector for term in self.terms for vector in term if vector is not None)
        yield from self.factors or ()


def _vector(values: np.ndarray | None) -> mx.array | None:
    return None if values is None else mx.array(values)


def _factors(factors: tuple[np.ndarray, np.ndarray], dtype: mx.Dtype) -> tuple[mx.array, mx.array]:
    """Return factors (R, in) and (out, R) on the device, R rounded up."""
    padding = -len(factors[0]) % _RANK_MULTIPLE
    down, up = np.pad(factors[0], ((0, padding), (0, 0))), np.pad(factors[1], ((0, 0), (0, padding)))
    return mx.array(down).astype(dtype), mx.array(up).astype(dtype)
