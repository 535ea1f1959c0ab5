"""Adapters of single layers in training: the eight types, computed beside frozen weights.

A layer computes rows * (W (cols * x) + up (down (cols * x))), where `rows` and `cols` are the trained norms divided by
those of D = W + up @ down. Gradients flow through these norms; D is never formed. The squared norm of a row of D is

    sum_j W² + 2 sum_r (W downᵀ * up) + sum_r (up (down downᵀ) * up),

and that of a column likewise. Letters as in `lora.adapter`. On PyTorch: `training.lora.layers` and `norms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import mlx.core as mx
import numpy as np

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.engines.mlx.branches import Product, scaled
from soundloom.lora.adapter import BORA_TYPES, COLS_TYPES, ROWS_TYPES, ModuleAdapter, is_xs, kinds_of
from soundloom.lora.arithmetic import EPS

BASES = ("U", "V")
BLOCK_VALUES = 1 << 16  # of a weight that are computed at once; MLX has about ten of such blocks in memory
MAX_BLOCKS = 16  # so that a GPU has few launches; a block is then at most this part of a weight
TINY = 1e-30  # smallest squared norm with a gradient: that of a root is infinite at 0

Parameters = Mapping[str, mx.array]  # of one layer, by kind


@dataclass(frozen=True, eq=False)
class TrainedBranch:
    """A `Branch` of the adapter's current tensors, all float32; `down` (r, in), `up` (out, r)."""

    down: mx.array
    up: mx.array
    rows: mx.array | None
    cols: mx.array | None

    def __call__(self, x: mx.array, product: Product) -> mx.array:
        if self.cols is not None:
            x = scaled(x, self.cols)
        base = product(x)
        down, up = self.down.astype(base.dtype), self.up.astype(base.dtype)
        y = mx.addmm(base, x.astype(base.dtype) @ down.T, up.T)
        return y if self.rows is None else scaled(y, self.rows)


class TrainableLayer:
    """The adapter of one layer of a network, and what of its weight W (out, in) the norms need."""

    def __init__(self, adapter: ModuleAdapter, layer: Any) -> None:
        self.name, self.type, self.rank, self.scale = adapter.name, adapter.type, adapter.rank, adapter.scale
        self.layer = layer
        self.start = {kind: mx.array(adapter.array(kind)) for kind in kinds_of(adapter.type)}
        self._bases = {kind: mx.array(adapter.array(kind)) for kind in BASES} if is_xs(adapter.type) else {}
        self._squares = self._sum_squares()  # now: a function that MLX compiles cannot compute them

    @property
    def inputs(self) -> int:
        """The number of columns of W."""
        size: int = self._bases["V"].shape[0] if self._bases else self.start["lora_A"].shape[1]
        return size

    def branch(self, parameters: Parameters, mask: mx.array | None = None) -> TrainedBranch:
        """Return the branch that the adapter's tensors make; dropout multiplies the inputs of A by `mask` (in,)."""
        down, up = self.factors(parameters)
        down = down if mask is None else down * mask
        return TrainedBranch(down, up, *self._scales(parameters, down, up))

    def factors(self, parameters: Parameters) -> tuple[mx.array, mx.array]:
        """Return (down (r, in), up (out, r)), whose product is the change of the weight."""
        if is_xs(self.type):
            return parameters["M_xs"] @ self._bases["V"].T, self._bases["U"] * self.scale
        return parameters["lora_A"], parameters["lora_B"] * self.scale

    def change(self, parameters: Parameters) -> tuple[mx.array, mx.array]:
        """Return the squared Frobenius norms of the low-rank change and of the weight."""
        down, up = self.factors(parameters)
        return ((up.T @ up) * (down @ down.T)).sum(), self._squares[0].sum()

    def adapter(self, parameters: Parameters) -> ModuleAdapter:
        """Return a copy of the adapter with these tensors."""
        arrays = {kind: np.array(array) for kind, array in {**parameters, **self._bases}.items()}
        tensors = {kind: from_array(kind, array) for kind, array in arrays.items()}
        return ModuleAdapter(self.name, self.type, self.rank, self.scale, tensors)

    def _scales(self, parameters: Parameters, down: mx.array, up: mx.array) -> tuple[mx.array | None, mx.array | None]:
        """Return what rows (out,) and columns (in,) of the changed weight are multiplied by; None for nothing."""
        if self.type in ROWS_TYPES:
            return parameters["magnitude"] / (self._row_norms(down, up) + EPS), None
        if self.type in COLS_TYPES:
            return None, parameters["magnitude"] / (self._column_norms(down, up) + EPS)
        if self.type in BORA_TYPES:
            rows = parameters["magnitude_r"] / (self._row_norms(down, up) + EPS)
            return rows, parameters["magnitude_c"] / (self._column_norms(down, up, rows) + EPS)
        return None, None

    def _row_norms(self, down: mx.array, up: mx.array) -> mx.array:
        """Return the norms (out,) of the rows of W + up @ down."""
        cross = (self._product(down).T * up).sum(axis=1)
        return root(self._squares[0] + 2 * cross + ((up @ (down @ down.T)) * up).sum(axis=1))

    def _column_norms(self, down: mx.array, up: mx.array, rows: mx.array | None = None) -> mx.array:
        """Return the norms (in,) of the columns of W + up @ down, its rows multiplied by `rows` first."""
        squares, weighted = self._squares[1], up
        if rows is not None:
            weights = rows * rows
            squares, weighted = self._weighted_squares(weights), up * weights[:, None]
        cross = (self._transposed_product(weighted.T) * down).sum(axis=0)
        return root(squares + 2 * cross + (((weighted.T @ up) @ down) * down).sum(axis=0))

    def _sum_squares(self) -> tuple[mx.array, mx.array]:
        """Return the sums of the squares of W along its rows (out,) and its columns (in,)."""
        rows, cols = [], mx.zeros(())
        for chosen in self._slices:
            block = mx.square(self.layer.rows(chosen, cols))
            rows.append(block.sum(axis=1))
            cols = cols + block.sum(axis=0)
            mx.eval(rows, cols)
        return mx.concatenate(rows), cols

    @cached_property
    def _product(self) -> Product:
        """The function that maps factors (r, in) to their float32 products with Wᵀ (r, out)."""
        return self.layer.product if self._is_exact else self._in_blocks[0]

    @cached_property
    def _transposed_product(self) -> Product:
        """The function that maps factors (r, out) to their float32 products with W (r, in)."""
        return self.layer.transposed_product if self._is_exact else self._in_blocks[1]

    @property
    def _is_exact(self) -> bool:
        """Whether the layer multiplies in float32."""
        return bool(getattr(self.layer, "dtype", self.layer.weight.dtype) == mx.float32)

    @cached_property
    def _in_blocks(self) -> tuple[Product, Product]:
        """Products with Wᵀ and W in float32."""

        def product(factor: mx.array) -> mx.array:
            return self._joined(lambda rows, block: factor @ block.T, axis=1)

        def transposed(factor: mx.array) -> mx.array:
            return self._sum(lambda rows, block: factor[:, rows] @ block)

        return with_gradient(product, transposed), with_gradient(transposed, product)

    @cached_property
    def _weighted_squares(self) -> Product:
        """The function that maps weights (out,) to sum_i weights_i W_ij² (in,)."""

        def sums(weights: mx.array) -> mx.array:
            return self._sum(lambda rows, block: weights[rows] @ mx.square(block))

        def gradient(cotangent: mx.array) -> mx.array:
            return self._joined(lambda rows, block: mx.square(block) @ cotangent, axis=0)

        return with_gradient(sums, gradient)

    def _sum(self, compute: Callable[[slice, mx.array], mx.array]) -> mx.array:
        """Return the sum of what is computed from blocks of rows of W in float32, one after the other."""
        total = mx.zeros(())
        for rows in self._slices:
            total = total + compute(rows, self.layer.rows(rows, total))
        return total

    def _joined(self, compute: Callable[[slice, mx.array], mx.array], axis: int) -> mx.array:
        """Return what is computed from blocks of rows of W in float32, one after the other, joined along an axis."""
        parts = [mx.zeros(())]
        for rows in self._slices:
            parts.append(compute(rows, self.layer.rows(rows, parts[-1])))
        return mx.concatenate(parts[1:], axis=axis)

    @cached_property
    def _slices(self) -> list[slice]:
        """The blocks of rows of W."""
        outputs = self.layer.weight.shape[0]
        least = -(-outputs // MAX_BLOCKS) if mx.default_device() == mx.gpu else 1
        count = max(BLOCK_VALUES // self.inputs, least)
        return [slice(start, start + count) for start in range(0, outputs, count)]


def with_gradient(function: Product, transpose: Product) -> Product:
    """Return a linear function whose gradient is computed by its transpose.

    MLX would keep everything that the function computes from a weight for the gradient.
    """

    @mx.custom_function
    def linear(x: mx.array) -> mx.array:
        return function(x)

    @linear.vjp
    def gradient(x: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
        return transpose(cotangent)

    return cast(Product, linear)


def root(squares: mx.array) -> mx.array:
    """Return the square root, with a finite derivative at 0; rounding may leave values slightly below 0."""
    return mx.sqrt(mx.maximum(squares, TINY))
