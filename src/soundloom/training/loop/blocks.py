"""Recompute or compile the transformer blocks of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from soundloom.engines.torch.stable_audio.dit import TransformerBlock
from soundloom.engines.torch.stable_audio.same import SAMEBlock
from soundloom.engines.torch.stable_audio.t5gemma import TextBlock

BLOCKS = (TransformerBlock, SAMEBlock, TextBlock)


def transformer_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield all transformer blocks, in which a network spends its time and memory."""
    return (part for part in module.modules() if isinstance(part, BLOCKS))


def recompute_blocks(module: nn.Module) -> None:
    """Apply gradient checkpointing: store the input of each block alone, and recompute the rest when needed."""
    for block in transformer_blocks(module):
        _when_training(block, partial(checkpoint, block.forward, use_reentrant=False))


def compile_blocks(module: nn.Module) -> None:
    """Compile each block separately for any length: all blocks of a kind share one compilation."""
    for block in transformer_blocks(module):
        _when_training(block, torch.compile(block.forward, dynamic=True))


def _when_training(block: nn.Module, replacement: Callable[..., Any]) -> None:
    """Call `replacement` where gradients are computed; inference takes shortcuts that do not compile."""
    original = block.forward

    def forward(*arguments: Any) -> Any:
        return (replacement if torch.is_grad_enabled() else original)(*arguments)

    block.forward = forward
