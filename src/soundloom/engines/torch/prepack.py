"""Linear layers for a few rows at a time on CPUs, where a product costs the reading of its weight and little else.

The plain layers of `blocks` and `quantized` read weights as files hold them. Here they lie as the processor multiplies
them: BF16 in oneDNN's blocks, 4-bit codes in those of torch. Values are the same, but scales of codes become BF16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from soundloom.engines.torch.blocks import HAS_ONEDNN, Linear
from soundloom.engines.torch.quantized import PackedLinear

ROWS = 1  # that the arrangement is chosen for
ZERO_CODE = 8  # the 4-bit code that stands for the offset alone
GROUP_SIZES, TILE = (32, 64, 128, 256), 16  # inputs that may share a scale; outputs come in tiles
BLOCK = 256  # outputs that are arranged at once


class PrepackedLinear(nn.Module):
    """A linear layer in BF16, without bias."""

    weight: Tensor

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(linear.weight, ROWS))

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x.to(torch.bfloat16), self.weight, None, "none", [], "")


class PrepackedInt4(nn.Module):
    """A linear layer with a weight of 4-bit codes, without bias: (code - 8) * scale + offset, in BF16."""

    weight: Tensor
    scales_and_offsets: Tensor

    def __init__(self, packed: PackedLinear) -> None:
        super().__init__()
        self.group_size, self.outputs = packed.group_size, packed.outputs
        words = packed.weight.view(torch.uint8)  # two codes in a byte, the first in its lower half
        # In blocks, since working copies of a whole weight would leave holes in memory between those that stay.
        self.register_buffer("weight", torch.empty(packed.outputs, packed.inputs // 2, dtype=torch.uint8))
        for start in range(0, packed.outputs, BLOCK):
            block = words[start : start + BLOCK]
            codes = torch.stack([block & 15, block >> 4], dim=-1).view(len(block), packed.inputs).int()
            self.weight[start : start + BLOCK] = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
        scales, biases = packed.scales.float(), packed.biases.float()
        pairs = torch.stack([scales, biases + ZERO_CODE * scales], dim=-1)  # (outputs, groups, 2)
        self.register_buffer("scales_and_offsets", pairs.transpose(0, 1).to(torch.bfloat16).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.weight, self.group_size, self.scales_and_offsets)
        return y.view(*x.shape[:-1], self.outputs)


@torch.inference_mode()
def prepack(module: nn.Module, done: Callable[[str], None] = lambda path: None) -> None:
    """Put arranged layers in the place of those that compute in BF16 on a CPU; what is arranged stays so.

    `done` hears the path of each layer whose former weight is needed no longer.
    """
    for path in [path for path, _ in module.named_modules()]:
        layer = module.get_submodule(path)
        if isinstance(layer, PackedLinear) and _has_codes(layer):
            module.set_submodule(path, PrepackedInt4(layer))
        elif isinstance(layer, Linear) and _is_bf16(layer.weight) and layer.bias is None and HAS_ONEDNN:
            module.set_submodule(path, PrepackedLinear(layer))
        else:
            continue
        done(path)


def _is_bf16(weight: Tensor) -> bool:
    return weight.is_cpu and weight.dtype == torch.bfloat16


def _has_codes(layer: PackedLinear) -> bool:
    fits = layer.bits == 4 and layer.group_size in GROUP_SIZES and layer.outputs % TILE == 0 and layer.bias is None
    return fits and layer.weight.is_cpu and layer.dtype == torch.bfloat16
