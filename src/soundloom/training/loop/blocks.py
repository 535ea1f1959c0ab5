"""The transformer blocks in a module, and what can be done to each of them: recompute it, compile it."""

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
    """All blocks in which a network spends its time and memory."""
    return (part for part in module.modules() if isinstance(part, BLOCKS))


def recompute_blocks(module: nn.Module) -> None:
    """Keep only what enters each block, and compute the rest again in the backward pass (gradient checkpointing)."""
    for block in transformer_blocks(module):
        _when_learning(block, partial(checkpoint, block.forward, use_reentrant=False))


def compile_blocks(module: nn.Module) -> None:
    """Compile each block by itself, for any length: blocks are alike, so one compilation serves all of a kind."""
    for block in transformer_blocks(module):
        _when_learning(block, torch.compile(block.forward, dynamic=True))


def _when_learning(block: nn.Module, learning: Callable[..., Any]) -> None:
    """Call `learning` where gradients are computed; elsewhere the layers take shortcuts that do not compile."""
    plain = block.forward

    def forward(*arguments: Any) -> Any:
        return (learning if torch.is_grad_enabled() else plain)(*arguments)

    block.forward = forward
