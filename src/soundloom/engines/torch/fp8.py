"""Linear layers that multiply in FP8 (e4m3) on NVIDIA GPUs from Ada on: 4 bits of exponent, 3 of mantissa.

As in `int8`, each output channel of a weight and each row of activations has a scale of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST = 448.0  # of e4m3
TINY = 1e-12
NATIVE_SINCE = (8, 9)  # compute capability


def round_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes, e4m3 like x (n, c), and the scale of each row (n, 1), float32."""
    largest = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_())
    scale = largest.float().div_(LARGEST).clamp_(min=TINY)
    return (x * scale.reciprocal()).clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn), scale


class Fp8Linear(nn.Module):
    """A linear layer with a rounded weight (outputs, inputs), both multiples of 16; takes floats, returns BF16."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.float8_e4m3fn))
        self.register_buffer("scale", torch.zeros(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @staticmethod
    def rounded(weight: Tensor) -> dict[str, Tensor]:
        """Return what a layer holds of a weight (outputs, inputs), by name."""
        codes, scale = round_rows(weight)
        return {"weight": codes, "scale": scale.flatten()}

    def forward(self, x: Tensor) -> Tensor:
        """Return the product with x (…, inputs)."""
        codes, scale = round_rows(x.reshape(-1, x.shape[-1]))
        y = self._multiply(codes, scale) if x.is_cuda else self._multiply_plainly(codes, scale)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.view(*x.shape[:-1], -1)

    def _multiply(self, codes: Tensor, scale: Tensor) -> Tensor:
        return torch._scaled_mm(
            codes, self.weight.t(), scale_a=scale, scale_b=self.scale[None], out_dtype=torch.bfloat16
        )

    def _multiply_plainly(self, codes: Tensor, scale: Tensor) -> Tensor:
        """The same where no processor multiplies FP8, to compare with."""
        y = (codes.float() * scale) @ (self.weight.float() * self.scale[:, None]).t()
        return y.to(torch.bfloat16)
