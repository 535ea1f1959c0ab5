"""FSDP2: weights, gradients and optimizer spread over processes, for models that do not fit on one device.

Files always hold whole tensors, so that a run can go on with another number of processes, or with one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from soundloom.engines.torch.blocks import CrossAttention
from soundloom.training.loop.blocks import transformer_blocks


class Whole(nn.Module):
    """A stage's module as FSDP wants to see it: one forward pass in which all that is needed happens."""

    def __init__(self, module: nn.Module, losses: Callable[..., dict[str, Tensor]]) -> None:
        super().__init__()
        self.module = module
        self.losses = losses

    def forward(self, *arguments: Any) -> dict[str, Tensor]:
        return self.losses(*arguments)


def sharded(module: nn.Module, losses: Callable[..., dict[str, Tensor]]) -> nn.Module:
    """Spread a module over the processes, and return what to call in place of `losses`.

    Layers of blocks are gathered when they compute, everything else for the whole step: parts of a block are also used
    outside of it, so the block itself would be too large a unit.
    """
    for block in transformer_blocks(module):
        for layer in block.children():
            if any(p.ndim >= 2 for p in layer.parameters()):
                fully_shard(layer)
                if isinstance(layer, CrossAttention):
                    register_fsdp_forward_method(layer, "remember")
    # It would warn of in-place changes to what layers return, and nothing here makes such changes.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    whole = Whole(module, losses)
    fully_shard(whole)
    return whole


def gathered(tree: Any) -> Any:
    """A state of nested dictionaries and lists with whole tensors on the CPU; all processes must call it."""
    if isinstance(tree, DTensor):
        return tree.full_tensor().cpu()
    if isinstance(tree, Tensor):
        return tree.cpu()
    if isinstance(tree, dict):
        return {key: gathered(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value) for value in tree)
    return tree


def placed_like(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor on the device of another, and spread as that one is."""
    if isinstance(like, DTensor):
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)
    return whole.to(like.device)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer a state with whole tensors."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    spread = {
        index: {
            name: placed_like(value, parameters[index]) if value.shape == parameters[index].shape else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": spread})
