"""Norms of the rows and columns of adapted weights, differentiable, without forming the weights.

For D = W + up @ down, with W (out, in), up (out, r) and down (r, in), the squared norm of a row is

    sum_j W² + 2 sum_r (W downᵀ * up) + sum_r (up (down downᵀ) * up),

and that of a column likewise. The sums of W² are computed once, in blocks of rows, so that nothing of the size of a
weight exists. A product with a weight in half precision is rounded to it, sums inside it are float32; norms, whose
greatest part is the sum of W², are then exact to about 1e-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

BLOCK_ELEMENTS = 1 << 18  # of a weight in float32, 1 MB: it stays in a processor's cache
MAX_BLOCKS = 16  # so that a GPU has few launches; a block is then at most this part of a weight
ROOT_EPS = 1e-24  # inside the root, in the derivative alone: a zero row has a finite gradient


def blocks(weight: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows of a weight in another dtype."""
    rows = max(1, BLOCK_ELEMENTS // weight.shape[1], -(-weight.shape[0] // MAX_BLOCKS) if weight.is_cuda else 1)
    for start in range(0, weight.shape[0], rows):
        chosen = slice(start, start + rows)
        yield chosen, weight[chosen].to(dtype)


def square_sums(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of squares of the rows (out,) and the columns (in,), float32 or wider."""
    dtype = torch.float32 if weight.device.type == "mps" else torch.float64
    rows, cols = weight.new_zeros(weight.shape[0], dtype=dtype), weight.new_zeros(weight.shape[1], dtype=dtype)
    for chosen, block in blocks(weight, dtype):
        squares = block.square()
        rows[chosen] = squares.sum(1)
        cols += squares.sum(0)
    result = torch.promote_types(weight.dtype, torch.float32)
    return rows.to(result), cols.to(result)


def row_product(factor: Tensor, weight: Tensor) -> Tensor:
    """Return factor @ weightᵀ (r, out) of a factor (r, in), in its dtype; the weight gets no gradient."""
    return factor @ weight.T if weight.dtype == factor.dtype else _HalfProduct.apply(factor, weight, True)


def column_product(factor: Tensor, weight: Tensor) -> Tensor:
    """Return factor @ weight (r, in) of a factor (r, out), in its dtype; the weight gets no gradient."""
    return factor @ weight if weight.dtype == factor.dtype else _HalfProduct.apply(factor, weight, False)


def weighted_square_sums(weights: Tensor, matrix: Tensor) -> Tensor:
    """Return sum_i weights_i matrix_ij² (in,), float32, of weights (out,); the matrix gets no gradient."""
    result: Tensor = _WeightedSquares.apply(weights, matrix)
    return result


def root(squares: Tensor) -> Tensor:
    """Return the square root, with a finite derivative at 0; rounding may leave values slightly below 0."""
    result: Tensor = _Root.apply(squares)
    return result


class _HalfProduct(torch.autograd.Function):
    """A product of a factor with a weight in half precision, or with its transpose."""

    @staticmethod
    def forward(ctx: Any, factor: Tensor, weight: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.transposed = transposed
        return (factor.to(weight.dtype) @ (weight.T if transposed else weight)).to(factor.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        (gradient,) = gradients
        return (gradient.to(weight.dtype) @ (weight if ctx.transposed else weight.T)).to(gradient.dtype), None, None


class _WeightedSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, weights: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(matrix)
        result = weights.new_zeros(matrix.shape[1])
        for chosen, block in blocks(matrix, weights.dtype):
            result += weights[chosen] @ block.square()
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (matrix,) = ctx.saved_tensors
        gradient = gradients[0]
        return torch.cat([block.square() @ gradient for _, block in blocks(matrix, gradient.dtype)]), None


class _Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, squares: Tensor) -> Tensor:
        ctx.save_for_backward(squares)
        return squares.clamp_min(0).sqrt()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (squares,) = ctx.saved_tensors
        return gradients[0] * 0.5 * (squares.clamp_min(0) + ROOT_EPS).rsqrt()
