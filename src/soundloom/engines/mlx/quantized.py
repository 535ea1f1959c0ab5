"""Linear layers with weights as stored in the file; MLX multiplies packed ones, others are cast in parts."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from soundloom.checkpoints.formats.affine import WORD_BITS
from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.mlx.branches import Branch, LowRankBranch
from soundloom.engines.mlx.graph import after
from soundloom.lora.branches import LayerBranch

# Weight values that are cast at once.
BLOCK_VALUES = 1 << 18


class StoredLinear(nn.Module):
    """A linear layer that computes in `dtype`, with a weight (out, in) of any dtype."""

    branch: Branch | None = None

    def __init__(self, inputs: int, outputs: int, bias: bool, dtype: mx.Dtype) -> None:
        super().__init__()
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype
        self.weight = mx.zeros((outputs, inputs))
        if bias:
            self.bias = mx.zeros((outputs,), dtype)

    def __call__(self, x: mx.array) -> mx.array:
        y = self.product(x) if self.branch is None else self.branch(x, self.product)
        return y + self.bias if "bias" in self else y

    def product(self, x: mx.array) -> mx.array:
        """Multiply x (…, in) by the weight alone."""
        return self.matmul(x.astype(self.dtype))

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> LowRankBranch:
        """Return a branch of adapters for this layer."""
        return LowRankBranch.of(branch, self.dtype, cache)

    def transposed_product(self, y: mx.array) -> mx.array:
        """Multiply y (…, out) by the transposed weight."""
        y = y.astype(self.dtype)
        step, total = max(BLOCK_VALUES // self.inputs, 1), mx.zeros((*y.shape[:-1], self.inputs), self.dtype)
        for start in range(0, self.outputs, step):
            rows = slice(start, start + step)
            total = total + y[..., rows] @ self.widen(rows, total)
        return total

    def rows(self, chosen: slice, earlier: mx.array) -> mx.array:
        """Return rows of the weight in float32, computed after `earlier`."""
        return self.widen(chosen, earlier).astype(mx.float32)

    def matmul(self, x: mx.array) -> mx.array:
        """Multiply by the weight, cast to `dtype` in parts, one part after the other."""
        step, parts = max(BLOCK_VALUES // self.inputs, 1), [x]
        for start in range(0, self.outputs, step):
            parts.append(x @ self.widen(slice(start, start + step), parts[-1]).T)
            if mx.default_device() == mx.cpu:
                mx.eval(parts[-1])  # a graph of so many parts would fragment the heap
        return mx.concatenate(parts[1:], axis=-1)

    def widen(self, rows: slice, earlier: mx.array) -> mx.array:
        """Return rows of the weight in `dtype`, computed after `earlier`."""
        return after(earlier, self.weight[rows]).astype(self.dtype)


class PackedLinear(StoredLinear):
    """A `StoredLinear` with the weight scale * value + bias, values of 4 or 8 bits; dequantized in the scales' dtype.

    `weight` (out, in * bits / 32) holds packed values, lowest bits first; `scales` and `biases` (out, in / group_size).
    """

    def __init__(self, inputs: int, outputs: int, bias: bool, dtype: mx.Dtype, bits: int, group_size: int) -> None:
        super().__init__(inputs, outputs, bias, dtype)
        self.bits, self.group_size = bits, group_size
        self.weight = mx.zeros((outputs, inputs * bits // WORD_BITS), mx.uint32)
        self.scales = mx.zeros((outputs, inputs // group_size))
        self.biases = mx.zeros((outputs, inputs // group_size))

    def matmul(self, x: mx.array) -> mx.array:
        # quantized_matmul would dequantize in the wider dtype
        return super().matmul(x) if self.scales.dtype != self.dtype else self._multiply(x, transpose=True)

    def transposed_product(self, y: mx.array) -> mx.array:
        if self.scales.dtype != self.dtype:
            return super().transposed_product(y)
        return self._multiply(y.astype(self.dtype), transpose=False)

    def _multiply(self, x: mx.array, transpose: bool) -> mx.array:
        # On a CPU, MLX accumulates in the dtype of the inputs, for which half precision is too coarse.
        dtype = self.dtype if mx.default_device() == mx.gpu else mx.float32
        packed = (self.weight, after(x, self.scales).astype(dtype), after(x, self.biases).astype(dtype))
        y = mx.quantized_matmul(
            x.astype(dtype), *packed, transpose=transpose, group_size=self.group_size, bits=self.bits
        )
        return y.astype(self.dtype)

    def widen(self, rows: slice, earlier: mx.array) -> mx.array:
        packed = (after(earlier, self.weight[rows]), self.scales[rows], self.biases[rows])
        return mx.dequantize(*packed, group_size=self.group_size, bits=self.bits).astype(self.dtype)
