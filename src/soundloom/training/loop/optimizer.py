"""The optimizer of a run: its parameter groups, and restoring its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from soundloom.errors import ConfigError, TrainingError
from soundloom.training.config import LoopConfig
from soundloom.training.loop.blocks import transformer_blocks
from soundloom.training.loop.checkpoint import named_damage
from soundloom.training.loop.muon import Muon
from soundloom.training.loop.schedule import learning_rate
from soundloom.training.loop.sharding import load_optimizer
from soundloom.training.loop.task import OptimizerPhase


def build_optimizer(phases: Sequence[OptimizerPhase], config: LoopConfig) -> Muon:
    """Build three groups a phase: matrices of transformer blocks, other matrices, and vectors."""
    groups: list[dict[str, Any]] = []
    modules = (module for phase in phases for module in phase.modules)
    if config.muon_lr_scale and not any(any(True for _ in transformer_blocks(module)) for module in modules):
        raise ConfigError("loop.muon_lr_scale is for matrices of transformer blocks, and this stage trains none")
    for phase in phases:
        trained = trainable(phase.modules)
        blocks = (block for module in phase.modules for block in transformer_blocks(module))
        inner = {id(p) for block in blocks for p in block.parameters() if p.ndim == 2}
        kinds = (
            ([p for p in trained if id(p) in inner], config.weight_decay, config.muon_lr_scale > 0),
            ([p for p in trained if p.ndim >= 2 and id(p) not in inner], config.weight_decay, False),
            ([p for p in trained if p.ndim < 2], config.weight_decay if config.decay_vectors else 0.0, False),
        )
        for parameters, decay, orthogonal in kinds:
            settings = {"weight_decay": decay, "betas": phase.betas or config.betas, "orthogonal": orthogonal}
            groups.append({"params": parameters, **settings})
    return Muon(groups, lr=config.learning_rate, eps=config.epsilon)


def trainable(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Return the parameters that are not frozen."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def set_learning_rates(optimizer: Muon, phases: Sequence[OptimizerPhase], config: LoopConfig, step: int) -> None:
    """Set the learning rate of every group for a step."""
    rate, muon = learning_rate(step, config), config.muon_lr_scale or 1.0
    scales = (phase.lr_scale * scale for phase in phases for scale in (muon, 1.0, 1.0))
    for group, scale in zip(optimizer.param_groups, scales, strict=True):
        group["lr"] = scale * rate


def restore_optimizer(optimizer: Muon, state: dict[str, Any], path: Path) -> None:
    """Load a state with weight decay and betas of the current configuration.

    Raises TrainingError where the state is damaged or its groups differ from those of the optimizer.
    """
    now = optimizer.param_groups
    settings = [{name: group[name] for name in ("weight_decay", "betas")} for group in now]
    with named_damage(path, "it is damaged; remove it to start over"):
        is_same = [_signature(group) for group in state["param_groups"]] == [_signature(group) for group in now]
        if is_same:
            load_optimizer(optimizer, state)
    if not is_same:
        raise TrainingError(
            f"{path} trains other weights or uses another optimizer than the recipe",
            "loop.muon_lr_scale and the trained weights cannot change during a run",
        )
    for group, current in zip(optimizer.param_groups, settings, strict=True):
        group.update(current)


def _signature(group: dict[str, Any]) -> tuple[int, bool]:
    """Return the number of parameters of a group, and whether Muon steps them."""
    return len(group["params"]), group.get("orthogonal", False)
