"""Linear layers that multiply in INT8: weights are quantized when loaded, activations at each matmul.

Each output channel of a weight and each row of activations has its own scale, its largest magnitude over 127.
Matmuls accumulate exactly, in 32-bit integers, so quantization is the only error.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.engines.torch.precision import has_int8

LIMIT = 127
TINY = 1e-12  # smallest scale, for rows of zeros
BLOCK = 1024  # outputs computed at once, so that scaling finds them in the processor's cache
MIN_ROWS = 32  # required by torch._int_mm on NVIDIA, which also requires inputs and outputs in multiples of 8
OFFSET = 128  # zero point of activations in oneDNN, which is fast for unsigned ones
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qlinear_pointwise")


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (n, c) quantized to int8, and the scale of each row (n, 1), float32."""
    largest = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_())  # without a copy of all |x|
    scale = largest.float().div_(LIMIT).clamp_(min=TINY)
    return (x * scale.reciprocal()).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer with an int8 weight (outputs, inputs); takes floats, returns float32."""

    weight: Tensor | None
    scale: Tensor
    bias: Tensor | None
    zero: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)
        self.outputs = outputs

    @staticmethod
    def quantize(weight: Tensor) -> dict[str, Tensor]:
        """Return the layer's buffers for a weight (outputs, inputs), by name."""
        quantized, scale = quantize_rows(weight)
        return {"weight": quantized, "scale": scale.flatten()}

    def prepack(self) -> None:
        """Replace the weight by oneDNN's own layout of it, where oneDNN multiplies bytes natively."""
        weight = self.weight
        if weight is None or not (HAS_ONEDNN and has_int8() and weight.is_cpu):
            return
        halves = (*self._blocks(0, self.outputs // 2), *self._blocks(self.outputs // 2, self.outputs))
        for block in halves:
            self.register_buffer(f"packed_{block.start}", torch.ops.onednn.qlinear_prepack(weight[block], None))
        self.register_buffer("zero", torch.zeros(self.outputs, dtype=torch.int32), persistent=False)
        self.weight = None

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = self._quantize_input(x)
        y = scale.new_empty(len(rows), self.outputs)
        half = self.outputs // 2
        for block in (*self._blocks(0, half), *self._blocks(half, self.outputs)):
            self._multiply(rows, scale, block, out=y[:, block])
        return self._unfolded(y, x)

    def silu_gated(self, x: Tensor) -> Tensor:
        """Return value * silu(gate) of the output's two halves."""
        rows, scale = self._quantize_input(x)
        half = self.outputs // 2
        y = scale.new_empty(len(rows), half)
        for block in self._blocks(0, half):
            value = self._multiply(rows, scale, block)
            gate = self._multiply(rows, scale, slice(block.start + half, block.stop + half))
            torch.mul(value, F.silu(gate, inplace=True), out=y[:, block])
        return self._unfolded(y, x)

    def _blocks(self, start: int, stop: int) -> list[slice]:
        size = stop - start if self.scale.is_cuda else BLOCK
        return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]

    @staticmethod
    def _unfolded(y: Tensor, x: Tensor) -> Tensor:
        """Return y (rows, outputs) in the leading shape of x, without padding rows."""
        return y[: x.numel() // x.shape[-1]].view(*x.shape[:-1], -1)

    def _quantize_input(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (…, inputs) as quantized rows (rows, inputs), in the format of `_multiply`, and their scales."""
        rows = x.reshape(-1, x.shape[-1])
        if x.is_cuda and len(rows) < MIN_ROWS:
            rows = F.pad(rows, (0, 0, 0, MIN_ROWS - len(rows)))
        rows, scale = quantize_rows(rows)
        return (rows if self.weight is not None else rows.view(torch.uint8).bitwise_xor_(OFFSET)), scale

    def _multiply(self, rows: Tensor, scale: Tensor, block: slice, out: Tensor | None = None) -> Tensor:
        """Return a block of the outputs (rows, block) for quantized rows and their scales."""
        if self.weight is None:
            y = torch.ops.onednn.qlinear_pointwise(
                rows, 1.0, OFFSET, self.get_buffer(f"packed_{block.start}"), self.scale[block], self.zero[block],
                None, 1.0, 0, torch.float32, "none", [], "",
            )  # fmt: skip
        else:
            y = torch._int_mm(rows, self.weight[block].t()).float().mul_(self.scale[block])
        out = y if out is None else out
        if self.bias is None:
            return torch.mul(y, scale, out=out)
        return torch.addcmul(self.bias[block], y, scale, out=out)
