"""Prepacked linear layers for matmuls with few rows, which are memory-bound on CPUs.

The layers of `blocks` and `quantized` read weights in the layout of the file. Here weights are in the layout of the
kernel: BF16 in oneDNN's blocks, 4-bit values in PyTorch's. Values are equal, but scales of 4-bit values become BF16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from soundloom.engines.torch.blocks import HAS_ONEDNN, Linear
from soundloom.engines.torch.quantized import PackedLinear

TARGET_BATCH_ROWS = 1  # the kernel layout is tuned for this many input rows
ZERO_POINT = 8  # the quantized value that dequantizes to `offset`
GROUP_SIZES, TILE = (32, 64, 128, 256), 16  # of PyTorch's int4 kernel; outputs are a multiple of TILE
BLOCK = 256  # outputs that are prepacked at once


class PrepackedLinear(nn.Module):
    """A linear layer in BF16, without bias."""

    weight: Tensor

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(linear.weight, TARGET_BATCH_ROWS))

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x.to(torch.bfloat16), self.weight, None, "none", [], "")


class PrepackedInt4(nn.Module):
    """A linear layer with a 4-bit weight, (value - 8) * scale + offset, in BF16, without bias."""

    weight: Tensor
    scales_and_offsets: Tensor

    def __init__(self, packed: PackedLinear) -> None:
        super().__init__()
        self.group_size, self.outputs = packed.group_size, packed.outputs
        stored = packed.weight.view(torch.uint8)  # two values in a byte, the first in its lower half
        # In blocks: temporaries as large as the weight would leave holes in the heap.
        self.register_buffer("weight", torch.empty(packed.outputs, packed.inputs // 2, dtype=torch.uint8))
        for start in range(0, packed.outputs, BLOCK):
            block = stored[start : start + BLOCK]
            values = torch.stack([block & 15, block >> 4], dim=-1).view(len(block), packed.inputs).int()
            self.weight[start : start + BLOCK] = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
        scales, biases = packed.scales.float(), packed.biases.float()
        pairs = torch.stack([scales, biases + ZERO_POINT * scales], dim=-1)  # (outputs, groups, 2)
        self.register_buffer("scales_and_offsets", pairs.transpose(0, 1).to(torch.bfloat16).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.weight, self.group_size, self.scales_and_offsets)
        return y.view(*x.shape[:-1], self.outputs)


@torch.inference_mode()
def prepack(module: nn.Module, on_replace: Callable[[str], None] = lambda path: None) -> None:
    """Replace the linear layers that compute in BF16 on a CPU by prepacked ones.

    `on_replace` is called with the path of each replaced layer, whose stored weight is no longer needed.
    """
    for path in [path for path, _ in module.named_modules()]:
        layer = module.get_submodule(path)
        if isinstance(layer, PackedLinear) and _is_int4(layer):
            module.set_submodule(path, PrepackedInt4(layer))
        elif isinstance(layer, Linear) and _is_bf16(layer.weight) and layer.bias is None and HAS_ONEDNN:
            module.set_submodule(path, PrepackedLinear(layer))
        else:
            continue
        on_replace(path)


def _is_bf16(weight: Tensor) -> bool:
    return weight.is_cpu and weight.dtype == torch.bfloat16


def _is_int4(layer: PackedLinear) -> bool:
    fits = layer.bits == 4 and layer.group_size in GROUP_SIZES and layer.outputs % TILE == 0 and layer.bias is None
    return fits and layer.weight.is_cpu and layer.dtype == torch.bfloat16
