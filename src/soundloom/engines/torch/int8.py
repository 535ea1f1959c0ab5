"""Linear layers that multiply in INT8: weights are quantized when loaded, activations at each matmul.

Each output channel of a weight and each row of activations has its own scale, its largest magnitude over 127.
Matmuls accumulate exactly, in 32-bit integers, so quantization is the only error. Work is done in blocks of channels
that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.torch.branches import LowRankBranch
from soundloom.engines.torch.int8_arithmetic import (
    OFFSET,
    hadamard_transform,
    hadamard_transform_,
    pack,
    qlinear,
    quantize_rows,
)
from soundloom.engines.torch.int8_branch import Int8Branch, Layout, Low
from soundloom.engines.torch.precision import has_int8
from soundloom.lora.branches import LayerBranch

MAX_BLOCK = 1024  # channels computed at once, so that scaling finds them in the processor's cache
BLOCK_MULTIPLE = 64
MIN_ROWS = 32  # required by torch._int_mm on NVIDIA, which also requires inputs and outputs in multiples of 8
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qlinear_pointwise")


def channel_blocks(channels: int) -> list[slice]:
    """Split channels into the fewest equal blocks of at most MAX_BLOCK; one block if they do not divide well."""
    counts = range(-(-channels // MAX_BLOCK), channels // BLOCK_MULTIPLE + 1)
    size = channels // next((count for count in counts if channels % (count * BLOCK_MULTIPLE) == 0), 1)
    return [slice(start, start + size) for start in range(0, channels, size)]


class QuantizedRows(NamedTuple):
    """Inputs (rows, inputs) in int8, the scale of each row (rows, 1), and what adapters project them to."""

    values: Tensor
    scale: Tensor
    low: Low | None


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
            self.register_buffer(name, pack(block))
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

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> Int8Branch | LowRankBranch:
        """Return a branch of adapters for this layer."""
        if len(branch.terms) != 1:
            return LowRankBranch.of(branch, self.scale.device, torch.float32, cache)
        outputs = tuple(block for part in range(self.parts) for block in self._blocks(part))
        layout = Layout((slice(None),), outputs, self.weight is None, is_transformed=False)
        return Int8Branch.of(branch, self.scale, layout, cache)

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
        """Return x (…, inputs) as quantized rows, and their projections if adapters have a low-rank part."""
        rows = x.reshape(-1, x.shape[-1])
        if x.is_cuda and len(rows) < MIN_ROWS:
            rows = F.pad(rows, (0, 0, 0, MIN_ROWS - len(rows)))
        branch = self._fused
        if branch is None:
            return QuantizedRows(*self._quantize(rows), None)
        projections = branch.project(rows)
        values, scale = self._quantize(rows if branch.col is None else rows * branch.col)
        if branch.packed is not None:
            projections = branch.packed.project(values)
        return QuantizedRows(values, scale, None if projections is None else Low(branch, projections))

    def _quantize(self, rows: Tensor, overwrite: bool = False) -> tuple[Tensor, Tensor]:
        """Return quantized rows, in the format of `_matmul`, and their scales."""
        rows, scale = quantize_rows(rows, out=rows if overwrite else None)
        return (rows if self.weight is not None else rows.view(torch.uint8).bitwise_xor_(OFFSET)), scale

    def _multiply(self, rows: QuantizedRows, block: slice) -> Tensor:
        """Return a block of the outputs (rows, block)."""
        weight = None if self.weight is None else self.weight[block]
        low = rows.low
        add = low.times_up(block) if low is not None and low.branch.packed is not None else None
        y = self._matmul(rows.values, weight, f"packed_{block.start}", block, add)
        # In place, here and below: a new tensor is not in the cache, and takes three times as long.
        y = y.mul_(rows.scale)
        if low is not None and low.branch.packed is None:
            y = y.add_(low.times_up(block))
        return y if self.bias is None else y.add_(self.bias[block])

    def _matmul(
        self, rows: Tensor, weight: Tensor | None, packed: str, block: slice, add: Tensor | None = None
    ) -> Tensor:
        """Multiply quantized rows by a block of the weight, or by its packed form, and scale the outputs `block`.

        `add` is added to the packed product.
        """
        scale = (self.scale if self._fused is None else self._fused.scale)[block]
        if weight is not None:
            return torch._int_mm(rows, weight.t()).float().mul_(scale)
        return qlinear(rows, 1.0, self.get_buffer(packed), scale, self.zero[block], add)


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
        y = projections = None
        for number, (block, x) in enumerate(zip(self._input_blocks(), blocks, strict=True)):
            projected = self._project(x, block)
            rows, scale = self._quantize(hadamard_transform_(x), overwrite=True)
            if self._fused is not None and self._fused.packed is not None:
                projected = self._fused.packed.project(rows, number).mul_(scale)
            if projected is not None:
                projections = projected if projections is None else projections.add_(projected)
            weight = None if self.weight is None else self.weight[:, block]
            product = self._matmul(rows, weight, f"packed_{block.start}", slice(None))
            if y is not None:
                y.addcmul_(product, scale)
            else:
                y = product.mul_(scale)
        assert y is not None
        if projections is not None and self._fused is not None:
            y = y.add_(Low(self._fused, projections).times_up(slice(None)))
        return y if self.bias is None else y.add_(self.bias)

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> Int8Branch | LowRankBranch:
        if len(branch.terms) != 1:
            return LowRankBranch.of(branch, self.scale.device, torch.float32, cache)
        layout = Layout(tuple(self._input_blocks()), (slice(0, self.outputs),), self.weight is None, True)
        return Int8Branch.of(branch, self.scale, layout, cache)

    def _project(self, x: Tensor, block: slice) -> Tensor | None:
        """Project a block of the inputs by float factors, then multiply it, in place, by the scales of columns."""
        branch = self._fused
        if branch is None:
            return None
        projected = None
        if branch.down is not None:
            projected = (x.to(branch.down.dtype) @ branch.down[:, block].t()).float()
        if branch.col is not None:
            x.mul_(branch.col[block])
        return projected

    def _input_blocks(self) -> list[slice]:
        return [slice(0, self.inputs)] if self.scale.is_cuda else channel_blocks(self.inputs)
