"""Compute adapters beside the weights of layers: see `lora.branches`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import mlx.core as mx

Product = Callable[[mx.array], mx.array]


class Branch(Protocol):
    """Computes a layer's output with adapters; layers that can be adapted hold one, or None.

    A module takes arrays, containers and modules that it holds for parameters: a branch must be none of these.
    """

    def __call__(self, x: mx.array, product: Product) -> mx.array:
        """Return the output for x (…, in) without the bias; `product` multiplies by the layer's weight."""
        ...
