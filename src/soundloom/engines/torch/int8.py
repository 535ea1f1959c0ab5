"""Linear layers that multiply in INT8: weights are quantized when loaded, activations at each matmul.

Each output channel of a weight and each row of activations has its own scale, its largest magnitude over 127.
Matmuls accumulate exactly, in 32-bit integers, so quantization is the only error. Work is done in blocks of channels
that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.engines.torch.branches import LowRankBranch
from soundloom.engines.torch.precision import has_bf16, has_int8
from soundloom.lora.branches import LayerBranch

LIMIT = 127
TINY = 1e-12  # smallest scale, for rows of zeros
MAX_BLOCK = 1024  # channels computed at once, so that scaling finds them in the processor's cache
BLOCK_MULTIPLE = 64
MIN_ROWS = 32  # required by torch._int_mm on NVIDIA, which also requires inputs and outputs in multiples of 8
OFFSET = 128  # zero point of activations in oneDNN, which is fast for unsigned ones
MAX_HADAMARD = 64  # channels that are transformed together: a larger matrix costs more and gains little
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qlinear_pointwise")


def quantize_rows(x: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return x (n, c) quantized to int8, and the scale of each row (n, 1), float32; `out` (n, c) is overwritten."""
    largest = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_())  # without a copy of all |x|
    scale = largest.float().div_(LIMIT).clamp_(min=TINY)
    return torch.mul(x, scale.reciprocal(), out=out).round_().to(torch.int8), scale


def channel_blocks(channels: int) -> list[slice]:
    """Split channels into the fewest equal blocks of at most MAX_BLOCK; one block if they do not divide well."""
    counts = range(-(-channels // MAX_BLOCK), channels // BLOCK_MULTIPLE + 1)
    size = channels // next((count for count in counts if channels % (count * BLOCK_MULTIPLE) == 0), 1)
    return [slice(start, start + size) for start in range(0, channels, size)]


class QuantizedRows(NamedTuple):
    """Inputs (rows, inputs) in int8 with the scale of each row (rows, 1), and their low-rank projection (rows, R)."""

    values: Tensor
    scale: Tensor
    low: Tensor | None


@dataclass(frozen=True, eq=False)
class Int8Branch:
    """A branch of adapters with one term, in the terms of an `Int8Linear`: scaled rows cost nothing there.

    `scale` (out,) replaces that of the weight; `col` (in,), `down` (R, in) and `up` (out, R) may be None.
    """

    scale: Tensor
    col: Tensor | None
    down: Tensor | None
    up: Tensor | None

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors, in a fixed order."""
        yield from (tensor for tensor in (self.scale, self.col, self.down, self.up) if tensor is not None)


class Int8Linear(nn.Module):
    """A linear layer with an int8 weight (outputs, inputs); takes floats, returns float32.

    `parts` is the number of equal pieces of the outputs that `split` returns.
    """

    weight: Tensor | None
    scale: Tensor
    bias: Tensor | None
    zero: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool, parts: int = 1) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)
        self.inputs, self.outputs, self.parts = inputs, outputs, parts
        self.branch: Int8Branch | LowRankBranch | None = None

    @staticmethod
    def quantize(weight: Tensor) -> dict[str, Tensor]:
        """Return the layer's buffers for a weight (outputs, inputs), by name."""
        quantized, scale = quantize_rows(weight)
        return {"weight": quantized, "scale": scale.flatten()}

    def prepack(self) -> None:
        """Replace the weight by oneDNN's own layout of it, where oneDNN multiplies bytes natively."""
        if self.weight is None or not (HAS_ONEDNN and has_int8() and self.weight.is_cpu):
            return
        for name, block in self._weight_blocks(self.weight).items():
            self.register_buffer(name, torch.ops.onednn.qlinear_prepack(block.contiguous(), None))
        self.register_buffer("zero", torch.zeros(self.outputs, dtype=torch.int32), persistent=False)
        self.weight = None

    def _weight_blocks(self, weight: Tensor) -> dict[str, Tensor]:
        """Return the parts of the weight that are multiplied by one call each, by buffer name."""
        blocks = (block for part in range(self.parts) for block in self._blocks(part))
        return {f"packed_{block.start}": weight[block] for block in blocks}

    def forward(self, x: Tensor) -> Tensor:
        parts = self.split(x)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the parts of the outputs for x (…, inputs)."""
        if isinstance(self.branch, LowRankBranch):
            y = self.branch(x, self.product)
            y = y if self.bias is None else y.add_(self.bias)
            return list(y.split(self.outputs // self.parts, dim=-1))
        return self._split(x)

    def product(self, x: Tensor) -> Tensor:
        """Multiply x (…, inputs) by the weight alone."""
        branch, bias = self.branch, self.bias
        self.branch = self.bias = None
        try:
            return torch.cat(self._split(x), dim=-1)
        finally:
            self.branch, self.bias = branch, bias

    def make_branch(self, branch: LayerBranch) -> Int8Branch | LowRankBranch:
        """Return a branch of adapters for this layer."""
        general = LowRankBranch.of(branch, self.scale.device, torch.float32)
        if len(general.terms) != 1:
            return general
        ((row, col),) = general.terms
        scale = self.scale.clone() if row is None else self.scale * row
        # The projection is exact enough in BF16: it is small, and the products around it are quantized.
        dtype = torch.bfloat16 if self.scale.is_cuda or has_bf16() else torch.float32
        return Int8Branch(scale, col, None if general.down is None else general.down.to(dtype), general.up)

    @property
    def computes_in_blocks(self) -> bool:
        """Whether blocks of the outputs can be computed one after the other; a sum of several terms cannot."""
        return not isinstance(self.branch, LowRankBranch)

    @property
    def _fused(self) -> Int8Branch | None:
        return self.branch if isinstance(self.branch, Int8Branch) else None

    def gated_blocks(self, x: Tensor, act: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Yield value * act(gate), of the two halves of the outputs, in blocks of channels (rows, block)."""
        rows = self._quantize_input(x)
        for value, gate in zip(self._blocks(0), self._blocks(1), strict=True):
            yield self._multiply(rows, value).mul_(act(self._multiply(rows, gate)))

    def _split(self, x: Tensor) -> list[Tensor]:
        rows = self._quantize_input(x)
        return [self.unfold(self._part(rows, part), x) for part in range(self.parts)]

    def _part(self, rows: QuantizedRows, part: int) -> Tensor:
        blocks = self._blocks(part)
        if len(blocks) == 1:
            return self._multiply(rows, blocks[0])
        y = rows.scale.new_empty(len(rows.values), self.outputs // self.parts)
        for block, columns in zip(blocks, self._blocks(0), strict=True):
            y[:, columns] = self._multiply(rows, block)
        return y

    def _blocks(self, part: int) -> list[slice]:
        """Return the slices of the outputs in which a part is computed."""
        size = self.outputs // self.parts
        blocks = [slice(0, size)] if self.scale.is_cuda else channel_blocks(size)
        return [slice(part * size + block.start, part * size + block.stop) for block in blocks]

    @staticmethod
    def unfold(y: Tensor, x: Tensor) -> Tensor:
        """Return y (rows, outputs) in the leading shape of x, without padding rows."""
        return y[: x.numel() // x.shape[-1]].view(*x.shape[:-1], -1)

    def _quantize_input(self, x: Tensor) -> QuantizedRows:
        """Return x (…, inputs) as quantized rows, and their projection if adapters have a low-rank part."""
        rows = x.reshape(-1, x.shape[-1])
        if x.is_cuda and len(rows) < MIN_ROWS:
            rows = F.pad(rows, (0, 0, 0, MIN_ROWS - len(rows)))
        low, branch = None, self._fused
        if branch is not None:
            if branch.down is not None:
                low = (rows.to(branch.down.dtype) @ branch.down.t()).float()
            if branch.col is not None:
                rows = rows * branch.col
        return QuantizedRows(*self._quantize(rows), low)

    def _quantize(self, rows: Tensor, overwrite: bool = False) -> tuple[Tensor, Tensor]:
        """Return quantized rows, in the format of `_matmul`, and their scales."""
        rows, scale = quantize_rows(rows, out=rows if overwrite else None)
        return (rows if self.weight is not None else rows.view(torch.uint8).bitwise_xor_(OFFSET)), scale

    def _multiply(self, rows: QuantizedRows, block: slice) -> Tensor:
        """Return a block of the outputs (rows, block)."""
        weight = None if self.weight is None else self.weight[block]
        y = self._matmul(rows.values, weight, f"packed_{block.start}", block)
        # In place, here and below: a new tensor is not in the cache, and takes three times as long.
        return self._finish(y.mul_(rows.scale), rows.low, block)

    def _finish(self, y: Tensor, low: Tensor | None, block: slice) -> Tensor:
        """Add the low-rank part and the bias to a block of the outputs."""
        if low is not None:
            assert self._fused is not None and self._fused.up is not None
            y = y.addmm_(low, self._fused.up[block].t())
        return y if self.bias is None else y.add_(self.bias[block])

    def _matmul(self, rows: Tensor, weight: Tensor | None, packed: str, block: slice) -> Tensor:
        """Multiply quantized rows by a block of the weight, or by its packed form, and scale the outputs `block`."""
        scale = (self.scale if self._fused is None else self._fused.scale)[block]
        if weight is not None:
            return torch._int_mm(rows, weight.t()).float().mul_(scale)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows, 1.0, OFFSET, self.get_buffer(packed), scale, self.zero[block],
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return product


class HadamardInt8Linear(Int8Linear):
    """An `Int8Linear` for inputs with outliers, such as the products of gated layers.

    Groups of channels are multiplied by a Hadamard matrix before quantization, and the weight by the same matrix, which
    leaves the product as it is. This rotation spreads an outlier over its group, so rows get finer scales. Blocks of
    inputs have scales of their own. Source: Ashkboos et al., QuaRot, 2024.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__(inputs, outputs, bias)

    @staticmethod
    def quantize(weight: Tensor) -> dict[str, Tensor]:
        return Int8Linear.quantize(hadamard_transform(weight.float()))

    def _weight_blocks(self, weight: Tensor) -> dict[str, Tensor]:
        return {f"packed_{block.start}": weight[:, block] for block in channel_blocks(self.inputs)}

    def _split(self, x: Tensor) -> list[Tensor]:
        rows = x.reshape(-1, self.inputs)
        blocks = (rows[:, block].to(torch.float32, copy=True) for block in self._input_blocks())
        return [self.unfold(self.accumulate(blocks), x)]

    def accumulate(self, blocks: Iterable[Tensor]) -> Tensor:
        """Return the outputs (rows, outputs) for blocks of the inputs (rows, block), float32.

        The blocks may be computed lazily, and are overwritten.
        """
        y = low = None
        for block, x in zip(self._input_blocks(), blocks, strict=True):
            low = self._project(x, block, low)
            rows, scale = self._quantize(hadamard_transform_(x), overwrite=True)
            weight = None if self.weight is None else self.weight[:, block]
            product = self._matmul(rows, weight, f"packed_{block.start}", slice(None))
            if y is not None:
                y.addcmul_(product, scale)
            else:
                y = product.mul_(scale)
        assert y is not None
        return self._finish(y, low, slice(None))

    def _project(self, x: Tensor, block: slice, low: Tensor | None) -> Tensor | None:
        """Add the low-rank projection of a block of the inputs to `low`, then scale the block, as adapters ask."""
        branch = self._fused
        if branch is None:
            return None
        if branch.down is not None:
            part = (x.to(branch.down.dtype) @ branch.down[:, block].t()).float()
            low = part if low is None else low.add_(part)
        if branch.col is not None:
            x.mul_(branch.col[block])
        return low

    def _input_blocks(self) -> list[slice]:
        return [slice(0, self.inputs)] if self.scale.is_cuda else channel_blocks(self.inputs)


def hadamard_transform(x: Tensor) -> Tensor:
    """Multiply groups of the last axis of x by a Hadamard matrix, in the dtype of x."""
    channels = x.shape[-1]
    size = min(channels & -channels, MAX_HADAMARD)  # the largest power of two that divides the axis
    return (x.reshape(-1, size) @ hadamard(size, x.dtype, x.device)).view(x.shape)


def hadamard_transform_(x: Tensor) -> Tensor:
    """Transform contiguous x in place, in BF16 if the device has it: its error is a tenth of that of INT8."""
    dtype = torch.bfloat16 if x.is_cuda or has_bf16() else torch.float32
    return x.copy_(hadamard_transform(x.to(dtype)))


@cache
def hadamard(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the orthonormal, symmetric Hadamard matrix (size, size); `size` is a power of two."""
    with torch.inference_mode(False), torch.device("cpu"):
        matrix = torch.ones(1, 1)
        while len(matrix) < size:
            matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
        return (matrix / size**0.5).to(device, dtype)
