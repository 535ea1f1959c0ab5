"""Affine quantization in groups, bit for bit as MLX does it: value = scale * code + bias.

A weight (out, in) becomes unsigned codes of 4 or 8 bits, packed into 32-bit words (out, in * bits / 32), lowest bits
first, and one scale and one bias for each `group` neighbors of a row, both (out, in / group). Scales may be negative;
zero is one of the values, to float rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

BITS = (4, 8)
GROUPS = (32, 64, 128)
WORD = 32  # bits
_SMALLEST_SCALE = np.float32(1e-7)


class Quantized(NamedTuple):
    """A weight in codes: `words` uint32, `scales` and `biases` in the weight's dtype."""

    words: Array
    scales: Array
    biases: Array


def quantize(weight: Array, bits: int, group: int) -> Quantized:
    """Quantize a weight (out, in), float32 or float16; `group` divides its inputs."""
    rows, inputs = weight.shape
    values = weight.astype(np.float32).reshape(rows, inputs // group, group)
    scales, biases = fit(values, 2**bits - 1)
    codes = np.rint((values - biases[..., None]) / scales[..., None]).clip(0, 2**bits - 1)
    words = pack(codes.astype(np.uint32).reshape(rows, inputs), bits)
    return Quantized(words, scales.astype(weight.dtype), biases.astype(weight.dtype))


def fit(values: Array, top: int) -> tuple[Array, Array]:
    """Scale and bias of each group of values (out, groups, group), such that the end farther from zero is exact."""
    low, high = values.min(axis=-1), values.max(axis=-1)
    step = np.maximum((high - low) / np.float32(top), _SMALLEST_SCALE)
    from_low = np.abs(low) > np.abs(high)
    edge = np.where(from_low, low, high)
    scale = np.where(from_low, step, -step)
    zero = np.rint(edge / scale)  # the code that stands for zero, counted from the edge
    crosses = zero != 0
    scale = np.where(crosses, edge / np.where(crosses, zero, 1), scale).astype(np.float32)
    return scale, np.where(crosses, edge, np.float32(0))


def dequantize(quantized: Quantized, bits: int, group: int) -> Array:
    """The weight (out, in), computed in the dtype of the scales."""
    words, scales, biases = quantized
    codes = unpack(words, bits).astype(scales.dtype)
    values = codes.reshape(*scales.shape, group) * scales[..., None] + biases[..., None]
    return values.reshape(codes.shape)


def pack(codes: Array, bits: int) -> Array:
    """Codes (out, in) as words (out, in * bits / 32)."""
    per_word = WORD // bits
    shifts = np.arange(per_word, dtype=np.uint32) * np.uint32(bits)
    return np.bitwise_or.reduce(codes.reshape(len(codes), -1, per_word) << shifts, axis=-1)


def unpack(words: Array, bits: int) -> Array:
    """Words (out, in * bits / 32) as codes (out, in), uint8."""
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8)
    if bits == 8:
        return octets
    return np.stack([octets & 15, octets >> 4], axis=-1).reshape(len(words), -1)
