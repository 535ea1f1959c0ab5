"""Linear layers that multiply in INT8: weights are rounded once, at loading, activations anew for each product.

Each output channel of a weight and each row of activations has a scale of its own, its largest magnitude over 127.
Products add up exactly, in 32-bit integers, so rounding is the only error.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 127
TINY = 1e-12  # the least scale, for rows of zeros


def round_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes, int8 like x (n, c), and the scale of each row (n, 1), float32."""
    scale = (x.abs().amax(-1, keepdim=True).float() / LIMIT).clamp_(min=TINY)
    return (x / scale).round_().to(torch.int8), scale


def round_weight(weight: Tensor) -> dict[str, Tensor]:
    """Return what an `Int8Linear` holds of a weight (outputs, inputs), by name."""
    codes, scale = round_rows(weight)
    return {"weight": codes.t().contiguous(), "scale": scale.flatten()}  # in this layout they multiply fastest


class Int8Linear(nn.Module):
    """A linear layer with a rounded weight (inputs, outputs); takes floats, returns float32."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(inputs, outputs, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        codes, scale = round_rows(x.reshape(-1, x.shape[-1]))
        y = torch._int_mm(codes, self.weight).float().mul_(self.scale)
        y = y.mul_(scale) if self.bias is None else torch.addcmul(self.bias, y, scale)
        return y.view(*x.shape[:-1], -1)
