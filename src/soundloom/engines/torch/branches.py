"""Compute adapters beside the weights of layers: see `lora.branches`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundloom.checkpoints.formats.tensors import Array
from soundloom.engines.factor_cache import FactorCache
from soundloom.lora.branches import LayerBranch

Product = Callable[[Tensor], Tensor]
_RANK_MULTIPLE = 8  # matmuls of other ranks are slower; zeros fill the rest


class Branch(Protocol):
    """Computes a layer's output with adapters; layers that can be adapted hold one, or None."""

    def __call__(self, x: Tensor, product: Product) -> Tensor:
        """Return the output for x (…, in) without the bias; `product` multiplies by the layer's weight."""
        ...


class DeviceBranch(Protocol):
    """A branch in the form that a kind of layer computes with."""

    def update(self, new: Any) -> bool:
        """Take the values of a new branch of the same structure in place; return false if that is not possible."""
        ...


class LowRankBranch:
    """The branch of one layer on its device.

    `terms` are the scales (row, col) of the weight. The low-rank part is up (mid * (down x)), where `mid` (R,) is a
    number per rank; all three are None without it. With `shared` scales, of the only term, the low-rank part is inside
    of them: row * (W + up mid down) * col.
    """

    def __init__(
        self,
        terms: list[tuple[Tensor | None, Tensor | None]],
        down: Tensor | None,
        up: Tensor | None,
        mid: Tensor | None,
        shared: bool,
    ) -> None:
        self.terms, self.down, self.up, self.mid, self.shared = terms, down, up, mid, shared

    @classmethod
    def of(cls, branch: LayerBranch, device: torch.device, dtype: torch.dtype, cache: FactorCache) -> LowRankBranch:
        """Copy a branch to a device; its factors become `dtype`."""
        terms = [(as_vector(row, device), as_vector(col, device)) for row, col in branch.terms]
        low = branch.single
        if low is not None:
            down, up = cache.get(low.adapter, dtype, lambda: factors_on(low.adapter.factors(), device, dtype))
            return cls(terms, down, up, torch.full((len(down),), low.scale, device=device), shared=True)
        factors = branch.factors()
        if factors is None:
            return cls(terms, None, None, None, shared=False)
        down, up = factors_on(factors, device, dtype)
        return cls(terms, down, up, torch.ones(len(down), device=device), shared=False)

    def update(self, new: LowRankBranch) -> bool:
        for target, value in zip(self._values(), new._values(), strict=True):
            if target is not value:
                target.copy_(value)
        return True

    def _values(self) -> list[Tensor]:
        vectors = [vector for term in self.terms for vector in term]
        return [tensor for tensor in (*vectors, self.down, self.up, self.mid) if tensor is not None]

    def __call__(self, x: Tensor, product: Product) -> Tensor:
        if self.shared:
            return self._shared(x, product)
        y: Tensor | None = None
        for row, col in self.terms:
            part = product(x if col is None else x * col)
            part = part if row is None else part.mul_(row)
            y = part if y is None else y.add_(part)
        assert y is not None
        return self._add_low(y, x)

    def _shared(self, x: Tensor, product: Product) -> Tensor:
        ((row, col),) = self.terms
        x = x if col is None else x * col
        y = self._add_low(product(x), x)
        return y if row is None else y.mul_(row)

    def _add_low(self, y: Tensor, x: Tensor) -> Tensor:
        if self.down is None or self.up is None or self.mid is None:
            return y
        h = (x.to(self.down.dtype) @ self.down.t()) * self.mid.to(self.down.dtype)
        y.view(-1, y.shape[-1]).addmm_(h.view(-1, h.shape[-1]).to(y.dtype), self.up.t().to(y.dtype))
        return y


def as_vector(values: Array | None, device: torch.device) -> Tensor | None:
    """Copy a vector to a device."""
    return None if values is None else torch.from_numpy(values).to(device)


def factors_on(factors: tuple[Array, Array], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return factors (R, in) and (out, R) on a device, R rounded up."""
    down, up = (torch.from_numpy(np.ascontiguousarray(factor)).to(device, dtype) for factor in factors)
    padding = -len(down) % _RANK_MULTIPLE
    return (F.pad(down, (0, 0, 0, padding)), F.pad(up, (0, padding))) if padding else (down, up)
