"""Adapters beside INT8 layers: their low-rank part is multiplied in INT8 too where oneDNN does it natively.

The projection to low rank uses the quantized inputs of the layer itself, and its result is quantized with one scale for
all rows. That costs a few percent of the layer's time, with an error of 1 to 3 % of what the adapter adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache as cached

import torch
from torch import Tensor

from soundloom.checkpoints.formats.tensors import Array
from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.torch.branches import as_vector, factors_on
from soundloom.engines.torch.int8_arithmetic import (
    LIMIT,
    OFFSET,
    TINY,
    hadamard_transform,
    pack,
    qlinear,
    quantize_rows,
)
from soundloom.engines.torch.precision import has_bf16
from soundloom.lora.branches import LayerBranch


@dataclass(frozen=True)
class Layout:
    """How an INT8 layer multiplies: the blocks of its inputs and outputs, and whether oneDNN packs them."""

    inputs: tuple[slice, ...]
    outputs: tuple[slice, ...]
    is_packed: bool
    is_transformed: bool  # inputs pass through a Hadamard transform


class PackedFactors:
    """The factors of an adapter in INT8, packed by oneDNN for the blocks of a layer.

    Rows of `down` are divided by their norms, so that projections of all ranks have similar sizes.
    """

    def __init__(self, down: Tensor, up: Tensor, layout: Layout) -> None:
        quantized, step = quantize_rows(down)
        norms = quantized.float().norm(dim=1).clamp_(min=1)
        self.down_scale = 1 / norms
        self.downs = [pack(quantized[:, block]) for block in layout.inputs]
        quantized, scale = quantize_rows(up * (step.flatten() * norms))
        self.ups = {block.start: pack(quantized[block]) for block in layout.outputs}
        self.up_scale = scale.flatten()

    def project(self, rows: Tensor, block: int = 0) -> Tensor:
        """Return the projections (rows, R) of a block of quantized inputs, in units of the rows' scales."""
        return qlinear(rows, 1.0, self.downs[block], self.down_scale, _zero())


class Int8Branch:
    """A branch of adapters with one term, as an INT8 layer computes it: scaled rows cost nothing there.

    `scale` (out,) replaces that of the weight, and `col` (in,) multiplies inputs. `packed` are the factors in INT8,
    whose outputs are multiplied by `up_scale` (out,); elsewhere `down` (R, in) and `up` (out, R) are floats.
    """

    def __init__(
        self,
        scale: Tensor,
        col: Tensor | None,
        packed: PackedFactors | None = None,
        up_scale: Tensor | None = None,
        down: Tensor | None = None,
        up: Tensor | None = None,
    ) -> None:
        self.scale, self.col, self.packed, self.up_scale = scale, col, packed, up_scale
        self.down, self.up = down, up

    @classmethod
    def of(cls, branch: LayerBranch, scale: Tensor, layout: Layout, cache: FactorCache) -> Int8Branch:
        """Return the branch of a layer whose weight has the scales `scale` (out,)."""
        ((row, col),) = ((as_vector(row, scale.device), as_vector(col, scale.device)) for row, col in branch.terms)
        scale = scale.clone() if row is None else scale * row
        if not branch.lows:
            return cls(scale, col)
        low = branch.single
        if layout.is_packed and (low is not None or all(part.col is None for part in branch.lows)):
            if low is None:
                packed = _packed(_factors(branch), layout)
                return cls(scale, col, packed, packed.up_scale)
            packed = cache.get(low.adapter, "int8", lambda: _packed(low.adapter.factors(), layout))
            up_scale = packed.up_scale * low.scale
            return cls(scale, col, packed, up_scale if row is None else up_scale * row)
        # The projection is exact enough in BF16: it is small, and the products around it are quantized.
        narrow = torch.bfloat16 if scale.is_cuda or has_bf16() else torch.float32
        down, up = factors_on(_factors(branch), scale.device, torch.float32)
        return cls(scale, col, down=down.to(narrow), up=up)

    def update(self, new: Int8Branch) -> bool:
        if self.packed is not new.packed:
            return False
        for target, value in zip(self._values(), new._values(), strict=True):
            target.copy_(value)
        return True

    def _values(self) -> list[Tensor]:
        return [value for value in (self.scale, self.col, self.up_scale, self.down, self.up) if value is not None]

    def project(self, x: Tensor) -> Tensor | None:
        """Return the projections of inputs (rows, in), before they are multiplied by `col`, or None if INT8 does it."""
        return None if self.down is None else (x.to(self.down.dtype) @ self.down.t()).float()


@cached
def _zero() -> Tensor:
    """Return the zero point of quantized weights, for all channels."""
    with torch.inference_mode(False):
        return torch.zeros(1, dtype=torch.int32)


class Low:
    """The projections of a layer's inputs (rows, R), ready to be multiplied by `up`."""

    def __init__(self, branch: Int8Branch, projections: Tensor) -> None:
        self.branch = branch
        if branch.packed is None:
            self.projections = projections
            return
        low, high = projections.aminmax()
        self.step = max(float(high), -float(low), TINY) / LIMIT
        self.projections = projections.mul_(1 / self.step).add_(OFFSET + 0.5).to(torch.uint8)  # truncates

    def times_up(self, block: slice) -> Tensor:
        """Return a block of the outputs (rows, block), with INT8 factors in units of the rows' scales."""
        packed, up_scale = self.branch.packed, self.branch.up_scale
        if packed is None or up_scale is None:
            assert self.branch.up is not None
            return self.projections @ self.branch.up[block].t()
        return qlinear(self.projections, self.step, packed.ups[block.start or 0], up_scale[block], _zero())


def _packed(factors: tuple[Array, Array], layout: Layout) -> PackedFactors:
    down, up = factors_on(factors, torch.device("cpu"), torch.float32)
    return PackedFactors(hadamard_transform(down) if layout.is_transformed else down, up, layout)


def _factors(branch: LayerBranch) -> tuple[Array, Array]:
    factors = branch.factors()
    assert factors is not None
    return factors
