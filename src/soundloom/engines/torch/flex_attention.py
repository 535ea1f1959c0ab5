"""Sliding-window and differential attention as fused FlexAttention kernels on GPUs.

`blocks` has the reference implementations: exact on any device, but they copy keys and values for the window and read
the values twice for the difference. Here a block mask skips what is outside the window, and the two attentions of a
difference are two items of one batch.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

HAS_COMPILER = find_spec("triton") is not None  # comes with PyTorch for NVIDIA


def is_fused(x: Tensor) -> bool:
    """Return whether kernels are compiled for the device of x."""
    return x.is_cuda and HAS_COMPILER and not torch.is_grad_enabled()


def attend_window(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attend with q (b, h, n, k) to the positions of k and v at most `window` away."""
    out: Tensor = _attention(is_fused(q))(q, k, v, block_mask=band(q.shape[2], window, q.device))
    return out


def differential_attention(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], v: Tensor, window: int
) -> Tensor:
    """Return the attention of the first queries and keys minus that of the second, over the same values."""
    q, k = (torch.cat(pair) for pair in zip(first, second, strict=True))
    # Values of one item are shared by a view; those of a batch must be copied.
    values = v.expand(2, -1, -1, -1) if len(v) == 1 else v.repeat(2, 1, 1, 1)
    one, other = attend_window(q, k, values, window).chunk(2)
    return one - other


@cache
def band(n: int, window: int, device: torch.device) -> BlockMask:
    """Return the block mask of n positions that attend to those at most `window` away."""
    from torch.nn.attention.flex_attention import create_block_mask

    with torch.inference_mode(False):
        return create_block_mask(lambda b, h, i, j: (i - j).abs() <= window, None, None, n, n, device=device)


@cache
def _attention(compiled: bool) -> Any:
    """Return FlexAttention, imported on first use because it imports PyTorch's compiler."""
    from torch.nn.attention.flex_attention import flex_attention

    # The decoder's chunks have few shapes, and static ones give the faster kernel. PyTorch caches kernels on disk.
    return torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
