"""What a stage hands to the trainer: modules, losses and the phases in which they are optimized."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from soundloom.training.loop.rng import RngStream

Term = tuple[str, float, Tensor]  # name, weight and value of a loss; weight 0 for values that are only logged


def sum_terms(terms: Sequence[Term]) -> dict[str, Tensor]:
    """Return the weighted sum of some terms as "loss", and the value of each."""
    total = torch.stack([weight * value for _, weight, value in terms if weight]).sum()
    return {"loss": total} | {name: value for name, _, value in terms}


class TrainingTask(Protocol):
    """A module and its losses at a step, of which "loss" is minimized."""

    @property
    def module(self) -> nn.Module:
        """All that is trained and saved."""
        ...

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Compute the losses of one step."""
        ...


@runtime_checkable
class ReportingTask(TrainingTask, Protocol):
    """A task that measures more than its losses when metrics are logged, and before the first step."""

    def report(self, step: int, all_reduce: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        """Return metrics by name; all processes call it, and `all_reduce` sums over them."""
        ...


@dataclass(frozen=True)
class OptimizerPhase:
    """Modules that are optimized together, in steps in which all others are frozen."""

    name: str
    modules: tuple[nn.Module, ...]
    lr_scale: float = 1.0  # of the loop's learning rate
    betas: tuple[float, ...] = ()  # none means the loop's


@runtime_checkable
class AlternatingTask(TrainingTask, Protocol):
    """A task whose steps alternate between phases, such as those of a generator and its discriminators.

    `losses` returns the losses of the step's phase; its modules minimize "loss".
    """

    @property
    def auxiliary(self) -> nn.Module:
        """Modules that are trained with it and discarded at the end: saved in the state, but without EMA."""
        ...

    @property
    def phases(self) -> tuple[OptimizerPhase, ...]:
        """All phases, which share no module; the module itself belongs to the first."""
        ...

    def phase(self, step: int) -> OptimizerPhase:
        """Return the phase of a step."""
        ...
