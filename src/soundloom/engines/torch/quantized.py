"""Linear layers with weights as stored in the file, dequantized or cast in blocks for each matmul."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.checkpoints.formats.affine import WORD_BITS
from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.torch.branches import Branch, LowRankBranch
from soundloom.lora.branches import LayerBranch

# Weight values that are cast at once: a few megabytes, which fit into a processor's cache.
BLOCK_VALUES = 1 << 19


class StoredLinear(nn.Module):
    """A linear layer that computes in `dtype`, with a weight (out, in) of any dtype."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype
        self.branch: Branch | None = None
        self.register_buffer("weight", torch.zeros(outputs, inputs))
        self.register_buffer("bias", torch.zeros(outputs, dtype=dtype) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        if self.branch is None:
            return self._multiply(x, self.bias)
        y = self.branch(x, self.product)
        return y if self.bias is None else y + self.bias

    def product(self, x: Tensor) -> Tensor:
        """Multiply x (…, inputs) by the weight alone."""
        return self._multiply(x, None)

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> LowRankBranch:
        """Return a branch of adapters for this layer."""
        return LowRankBranch.of(branch, self.weight.device, self.dtype, cache)

    def _multiply(self, x: Tensor, bias: Tensor | None) -> Tensor:
        x = x.to(self.dtype)
        y = x.new_empty(*x.shape[:-1], self.outputs)
        step = max(BLOCK_VALUES // self.inputs, 1)
        for start in range(0, self.outputs, step):
            rows = slice(start, start + step)
            y[..., rows] = F.linear(x, self.widen(rows), None if bias is None else bias[rows])
        return y

    def widen(self, rows: slice) -> Tensor:
        """Return rows of the weight in `dtype`."""
        return self.weight[rows].to(self.dtype)


class PackedLinear(StoredLinear):
    """A `StoredLinear` with the weight scale * value + bias, values of 4 or 8 bits; dequantized in the scales' dtype.

    `weight` (out, in * bits / 32) holds packed values, lowest bits first; `scales` and `biases` (out, in / group_size).
    """

    scales: Tensor
    biases: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool, dtype: torch.dtype, bits: int, group_size: int) -> None:
        super().__init__(inputs, outputs, bias, dtype)
        self.bits, self.group_size = bits, group_size
        self.register_buffer("weight", torch.zeros(outputs, inputs * bits // WORD_BITS, dtype=torch.uint32))
        self.register_buffer("scales", torch.zeros(outputs, inputs // group_size))
        self.register_buffer("biases", torch.zeros(outputs, inputs // group_size))

    def widen(self, rows: slice) -> Tensor:
        packed = self.weight[rows].view(torch.uint8)
        if self.bits == 4:
            packed = torch.stack([packed & 15, packed >> 4], dim=-1)
        scales, biases = self.scales[rows], self.biases[rows]
        values = packed.view(*scales.shape, self.group_size).to(scales.dtype)
        values.mul_(scales[..., None]).add_(biases[..., None])
        return values.view(-1, self.inputs).to(self.dtype)
