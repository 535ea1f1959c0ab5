"""Attention in a sliding window and differential attention as one fused kernel each, by FlexAttention on GPUs.

`blocks` holds the plain forms, which are the measure: exact, on any device, but with copies of keys and values for the
window, and with a second pass over the values for the difference. Here the window is a mask of blocks, of which those
outside are never read, and both attentions of a difference are two items of one batch over one tensor of values.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

HAS_COMPILER = find_spec("triton") is not None  # comes with PyTorch for NVIDIA


def is_fused(x: Tensor) -> bool:
    """Whether kernels are compiled for where x lies."""
    return x.is_cuda and HAS_COMPILER and not torch.is_grad_enabled()


def attend_window(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attention of each position of q (b, h, n, k) over k and v at most `window` away."""
    out: Tensor = _attention(is_fused(q))(q, k, v, block_mask=band(q.shape[2], window, q.device))
    return out


def differential_attention(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], v: Tensor, window: int
) -> Tensor:
    """Return the attention of the first queries and keys less that of the second, over the same values."""
    q, k = (torch.cat(pair) for pair in zip(first, second, strict=True))
    # One item's values serve both without a copy; a batch's are repeated, since a view cannot repeat it.
    values = v.expand(2, -1, -1, -1) if len(v) == 1 else v.repeat(2, 1, 1, 1)
    one, other = attend_window(q, k, values, window).chunk(2)
    return one - other


@cache
def band(n: int, window: int, device: torch.device) -> Any:
    """Return the mask of n positions that see each other at most `window` away."""
    from torch.nn.attention.flex_attention import create_block_mask

    with torch.inference_mode(False):
        return create_block_mask(lambda b, h, i, j: (i - j).abs() <= window, None, None, n, n, device=device)


@cache
def _attention(compiled: bool) -> Any:
    """Return FlexAttention, which takes PyTorch's compiler with it and so is imported no earlier than it is used."""
    from torch.nn.attention.flex_attention import flex_attention

    # Shapes are few, the pieces of the decoder's plan, and fixed ones give the faster kernel. What is compiled is kept
    # on disk by PyTorch, so that the next process finds it.
    return torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
