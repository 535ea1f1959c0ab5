"""Linear layers that multiply in FP8 (e4m3: 4 bits of exponent, 3 of mantissa) on NVIDIA GPUs, Ada or newer.

As in `int8`, each output channel of a weight and each row of activations has its own scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.torch.branches import Branch, LowRankBranch
from soundloom.lora.branches import LayerBranch

LIMIT = 448.0  # largest e4m3 value
TINY = 1e-12
MIN_CAPABILITY = (8, 9)  # compute capability


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (n, c) quantized to e4m3, and the scale of each row (n, 1), float32."""
    largest = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_())
    scale = largest.float().div_(LIMIT).clamp_(min=TINY)
    return (x * scale.reciprocal()).clamp_(-LIMIT, LIMIT).to(torch.float8_e4m3fn), scale


class Fp8Linear(nn.Module):
    """A linear layer with an e4m3 weight (outputs, inputs), both multiples of 16; takes floats, returns BF16."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.branch: Branch | None = None
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.float8_e4m3fn))
        self.register_buffer("scale", torch.zeros(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @staticmethod
    def quantize(weight: Tensor) -> dict[str, Tensor]:
        """Return the layer's buffers for a weight (outputs, inputs), by name."""
        quantized, scale = quantize_rows(weight)
        return {"weight": quantized, "scale": scale.flatten()}

    def forward(self, x: Tensor) -> Tensor:
        y = self.product(x) if self.branch is None else self.branch(x, self.product)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def product(self, x: Tensor) -> Tensor:
        """Multiply x (…, inputs) by the weight alone."""
        rows, scale = quantize_rows(x.reshape(-1, x.shape[-1]))
        y = self._multiply(rows, scale) if x.is_cuda else self._multiply_reference(rows, scale)
        return y.view(*x.shape[:-1], -1)

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> LowRankBranch:
        """Return a branch of adapters for this layer."""
        return LowRankBranch.of(branch, self.weight.device, torch.bfloat16, cache)

    def _multiply(self, rows: Tensor, scale: Tensor) -> Tensor:
        return torch._scaled_mm(
            rows, self.weight.t(), scale_a=scale, scale_b=self.scale[None], out_dtype=torch.bfloat16
        )

    def _multiply_reference(self, rows: Tensor, scale: Tensor) -> Tensor:
        """Multiply without FP8 hardware, for tests."""
        y = (rows.float() * scale) @ (self.weight.float() * self.scale[:, None]).t()
        return y.to(torch.bfloat16)
