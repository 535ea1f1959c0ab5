"""Linear layers that keep their weights as the file has them; MLX multiplies packed ones, others are widened."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from soundloom.quantization.affine import WORD

# Widened values that exist at once; several parts are under way together.
BLOCK_VALUES = 1 << 17


class StoredLinear(nn.Module):
    """A linear layer that computes in `dtype`, whatever its weight (out, in) is stored in."""

    def __init__(self, inputs: int, outputs: int, bias: bool, dtype: mx.Dtype) -> None:
        super().__init__()
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype
        self.weight = mx.zeros((outputs, inputs))
        if bias:
            self.bias = mx.zeros((outputs,), dtype)

    def __call__(self, x: mx.array) -> mx.array:
        y = self.product(x.astype(self.dtype))
        return y + self.bias if "bias" in self else y

    def product(self, x: mx.array) -> mx.array:
        """Multiply with the widened weight, in parts."""
        step = max(BLOCK_VALUES // self.inputs, 1)
        starts = range(0, self.outputs, step)
        return mx.concatenate([x @ self.widen(slice(s, s + step)).T for s in starts], axis=-1)

    def widen(self, rows: slice) -> mx.array:
        """Return some rows of the weight in `dtype`."""
        return self.weight[rows].astype(self.dtype)


class PackedLinear(StoredLinear):
    """The same with the weight scale * code + bias, in 4 or 8 bits, computed in the dtype of its scales.

    `weight` (out, in * bits / 32) holds codes in words, lowest bits first; `scales` and `biases` (out, in / group).
    """

    def __init__(self, inputs: int, outputs: int, bias: bool, dtype: mx.Dtype, bits: int, group: int) -> None:
        super().__init__(inputs, outputs, bias, dtype)
        self.bits, self.group = bits, group
        self.weight = mx.zeros((outputs, inputs * bits // WORD), mx.uint32)
        self.scales = mx.zeros((outputs, inputs // group))
        self.biases = mx.zeros((outputs, inputs // group))

    def product(self, x: mx.array) -> mx.array:
        if self.scales.dtype != self.dtype:  # MLX would compute the weight in the wider dtype
            return super().product(x)
        # On a CPU, MLX sums the products in the dtype of its inputs, and half precision is too coarse for that.
        dtype = self.dtype if mx.default_device() == mx.gpu else mx.float32
        packed = (self.weight, self.scales.astype(dtype), self.biases.astype(dtype))
        return mx.quantized_matmul(x.astype(dtype), *packed, group_size=self.group, bits=self.bits).astype(self.dtype)

    def widen(self, rows: slice) -> mx.array:
        packed = (self.weight[rows], self.scales[rows], self.biases[rows])
        return mx.dequantize(*packed, group_size=self.group, bits=self.bits).astype(self.dtype)
