"""Quantize to INT8, transform before it, and multiply by oneDNN."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from soundloom.engines.torch.precision import has_bf16

LIMIT = 127
TINY = 1e-12  # smallest scale, for rows of zeros
OFFSET = 128  # zero point of activations in oneDNN, which is fast for unsigned ones
MAX_HADAMARD = 64  # channels that are transformed together: a larger matrix costs more and gains little


def quantize_rows(x: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return x (n, c) quantized to int8, and the scale of each row (n, 1), float32; `out` (n, c) is overwritten."""
    largest = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_())  # without a copy of all |x|
    scale = largest.float().div_(LIMIT).clamp_(min=TINY)
    return torch.mul(x, scale.reciprocal(), out=out).round_().to(torch.int8), scale


def hadamard_transform(x: Tensor) -> Tensor:
    """Multiply groups of the last axis of x by a Hadamard matrix, in the dtype of x."""
    channels = x.shape[-1]
    size = min(channels & -channels, MAX_HADAMARD)  # the largest power of two that divides the axis
    return (x.reshape(-1, size) @ hadamard(size, x.dtype, x.device)).view(x.shape)


def hadamard_transform_(x: Tensor) -> Tensor:
    """Transform contiguous x in place, in BF16 if the device has it: its error is a tenth of that of INT8."""
    dtype = torch.bfloat16 if x.is_cuda or has_bf16() else torch.float32
    return x.copy_(hadamard_transform(x.to(dtype)))


@cache
def hadamard(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the orthonormal, symmetric Hadamard matrix (size, size); `size` is a power of two."""
    with torch.inference_mode(False), torch.device("cpu"):
        matrix = torch.ones(1, 1)
        while len(matrix) < size:
            matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
        return (matrix / size**0.5).to(device, dtype)


def pack(weight: Tensor) -> Tensor:
    """Return an int8 weight (out, in) in oneDNN's own layout."""
    packed: Tensor = torch.ops.onednn.qlinear_prepack(weight.contiguous(), None)
    return packed


def qlinear(
    rows: Tensor, step: float, weight: Tensor, scale: Tensor, zero: Tensor, add: Tensor | None = None
) -> Tensor:
    """Multiply quantized rows by a packed weight, float32; `add` (rows, out) is added, and may be overwritten."""
    if add is None:
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows, step, OFFSET, weight, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return product
    total: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
        rows, step, OFFSET, weight, scale, zero, add, None, 1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, "none", [], ""
    )
    return total
