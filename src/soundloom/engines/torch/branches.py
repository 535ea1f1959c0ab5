"""Compute adapters beside the weights of layers: see `lora.branches`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

Product = Callable[[Tensor], Tensor]


class Branch(Protocol):
    """Computes a layer's output with adapters; layers that can be adapted hold one, or None."""

    def __call__(self, x: Tensor, product: Product) -> Tensor:
        """Return the output for x (…, in) without the bias; `product` multiplies by the layer's weight."""
        ...
