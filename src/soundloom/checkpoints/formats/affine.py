"""Quantize weights in groups, bit-exact with MLX: value = scale * quantized + bias.

A weight (out, in) becomes unsigned integers of 4 or 8 bits, packed into 32-bit words (out, in * bits / 32), lowest
bits first. Each group of `group_size` neighbors in a row shares a scale and a bias, both (out, in / group_size).
Scales may be negative; zero is representable, up to float rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

BITS = (4, 8)
GROUP_SIZES = (32, 64, 128)
WORD_BITS = 32
_MIN_SCALE = np.float32(1e-7)


class Quantized(NamedTuple):
    """A quantized weight: `packed` values, uint32; `scales` and `biases` in the weight's dtype."""

    packed: Array
    scales: Array
    biases: Array


def quantize(weight: Array, bits: int, group_size: int) -> Quantized:
    """Quantize a weight (out, in), float32 or float16; `in` must be a multiple of `group_size`."""
    rows, inputs = weight.shape
    groups = weight.astype(np.float32).reshape(rows, inputs // group_size, group_size)
    scales, biases = fit_scale_bias(groups, 2**bits - 1)
    values = np.rint((groups - biases[..., None]) / scales[..., None]).clip(0, 2**bits - 1)
    packed = pack(values.astype(np.uint32).reshape(rows, inputs), bits)
    return Quantized(packed, scales.astype(weight.dtype), biases.astype(weight.dtype))


def fit_scale_bias(groups: Array, max_value: int) -> tuple[Array, Array]:
    """Return the scale and bias of each group (out, groups, group_size) for quantized values from 0 to `max_value`.

    The end of the group's range that is farther from zero is represented exactly.
    """
    low, high = groups.min(axis=-1), groups.max(axis=-1)
    step = np.maximum((high - low) / np.float32(max_value), _MIN_SCALE)
    from_low = np.abs(low) > np.abs(high)
    edge = np.where(from_low, low, high)
    scale = np.where(from_low, step, -step)
    zero = np.rint(edge / scale)  # the quantized value of zero, counted from the edge
    crosses = zero != 0
    scale = np.where(crosses, edge / np.where(crosses, zero, 1), scale).astype(np.float32)
    return scale, np.where(crosses, edge, np.float32(0))


def dequantize(quantized: Quantized, bits: int, group_size: int) -> Array:
    """Return the weight (out, in), computed in the dtype of the scales."""
    packed, scales, biases = quantized
    values = unpack(packed, bits).astype(scales.dtype).reshape(*scales.shape, group_size)
    return (values * scales[..., None] + biases[..., None]).reshape(len(packed), scales.shape[1] * group_size)


def pack(values: Array, bits: int) -> Array:
    """Pack quantized values (out, in), uint32, into words (out, in * bits / 32)."""
    per_word = WORD_BITS // bits
    shifts = np.arange(per_word, dtype=np.uint32) * np.uint32(bits)
    return np.bitwise_or.reduce(values.reshape(len(values), -1, per_word) << shifts, axis=-1)


def unpack(packed: Array, bits: int) -> Array:
    """Unpack words (out, in * bits / 32) into quantized values (out, in), uint8."""
    octets = np.ascontiguousarray(packed, "<u4").view(np.uint8)
    if bits == 8:
        return octets
    return np.stack([octets & 15, octets >> 4], axis=-1).reshape(len(packed), -1)
