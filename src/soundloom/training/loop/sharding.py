"""Shard weights, gradients and optimizer state over processes (FSDP2), for models that do not fit on one device.

Files hold complete tensors, so that a run can resume with another number of processes.
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


class LossModule(nn.Module):
    """A task whose forward pass computes its losses, as FSDP requires."""

    def __init__(self, module: nn.Module, losses: Callable[..., dict[str, Tensor]]) -> None:
        super().__init__()
        self.module = module
        self.losses = losses

    def forward(self, *arguments: Any) -> dict[str, Tensor]:
        return self.losses(*arguments)


def sharded(module: nn.Module, losses: Callable[..., dict[str, Tensor]]) -> nn.Module:
    """Shard a module, and return the function to call instead of `losses`.

    Layers of blocks are gathered while they compute, everything else for the entire step. Blocks cannot be units
    themselves because some of their parts are used outside of them.
    """
    for block in transformer_blocks(module):
        for layer in block.children():
            if any(p.ndim >= 2 for p in layer.parameters()):
                fully_shard(layer)
                if isinstance(layer, CrossAttention):
                    register_fsdp_forward_method(layer, "project_kv")
    # FSDP warns of in-place changes to the outputs of layers, which this code never makes.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    loss_module = LossModule(module, losses)
    fully_shard(loss_module)
    return loss_module


def gathered(tree: Any) -> Any:
    """Gather the tensors of nested dictionaries and lists on the CPU; all processes must call it."""
    if isinstance(tree, DTensor):
        return tree.full_tensor().cpu()
    if isinstance(tree, Tensor):
        return tree.cpu()
    if isinstance(tree, dict):
        return {key: gathered(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value) for value in tree)
    return tree


def placed_like(full: Tensor, like: Tensor) -> Tensor:
    """Move a complete tensor to the device of another, and shard it like that one."""
    if isinstance(like, DTensor):
        return distribute_tensor(full.to(like.device), like.device_mesh, like.placements)
    return full.to(like.device)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimizer state that holds complete tensors."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    placed = {
        index: {
            name: placed_like(value, parameters[index]) if value.shape == parameters[index].shape else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": placed})
