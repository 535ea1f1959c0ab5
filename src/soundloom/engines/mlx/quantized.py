"""Linear layers whose weights stay packed in 4 or 8 bits."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from soundloom.quantization.affine import WORD

# Unpacked values that exist at once where MLX's own product of packed weights does not serve.
BLOCK_VALUES = 1 << 17


class PackedLinear(nn.Module):
    """A linear layer that computes in `dtype` with the weight scale * code + bias, itself in the dtype of the scales.

    `weight` (out, in * bits / 32) holds codes in words, lowest bits first; `scales` and `biases` (out, in / group).
    """

    def __init__(self, inputs: int, outputs: int, bias: bool, bits: int, group: int, dtype: mx.Dtype) -> None:
        super().__init__()
        self.inputs, self.outputs, self.bits, self.group, self.dtype = inputs, outputs, bits, group, dtype
        self.weight = mx.zeros((outputs, inputs * bits // WORD), mx.uint32)
        self.scales = mx.zeros((outputs, inputs // group))
        self.biases = mx.zeros((outputs, inputs // group))
        if bias:
            self.bias = mx.zeros((outputs,), dtype)

    def __call__(self, x: mx.array) -> mx.array:
        x = x.astype(self.dtype)
        y = self._fused(x) if self.scales.dtype == self.dtype else self._by_rows(x)
        return y + self.bias if "bias" in self else y

    def _fused(self, x: mx.array) -> mx.array:
        # On a CPU, MLX sums the products in the dtype of its inputs, and half precision is too coarse for that.
        dtype = self.dtype if mx.default_device() == mx.gpu else mx.float32
        packed = (self.weight, self.scales.astype(dtype), self.biases.astype(dtype))
        return mx.quantized_matmul(x.astype(dtype), *packed, group_size=self.group, bits=self.bits).astype(self.dtype)

    def _by_rows(self, x: mx.array) -> mx.array:
        """Multiply in another dtype than the weight's, which MLX's own product would unpack in that dtype."""
        step = max(BLOCK_VALUES // self.inputs, 1)
        starts = range(0, self.outputs, step)
        return mx.concatenate([x @ self.unpack(slice(s, s + step)).T for s in starts], axis=-1)

    def unpack(self, rows: slice = slice(None)) -> mx.array:
        """Return some rows of the weight."""
        packed = (self.weight[rows], self.scales[rows], self.biases[rows])
        return mx.dequantize(*packed, group_size=self.group, bits=self.bits).astype(self.dtype)
