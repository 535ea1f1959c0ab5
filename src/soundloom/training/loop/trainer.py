"""One training loop for all stages: optimizer, schedule, average, and a state that resumes bit for bit.

All chance in a step comes from the step's own number and the seed, so a position in the run is one integer: there is
no generator state to keep, and the data position is the same integer. A step adds up the gradients of one or several
batches, each with draws of its own; how many processes share them makes no difference.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from soundloom.errors import ConfigError, EngineError, TrainingError
from soundloom.temporary import remove_stale
from soundloom.training.config import LoopConfig
from soundloom.training.loop.blocks import compile_blocks, recompute_blocks, transformer_blocks
from soundloom.training.loop.checkpoint import damage_named, fill, read_state
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.guards import DivergenceGuard, require_finite
from soundloom.training.loop.logging import Callback, JsonlLogger, StepMetrics
from soundloom.training.loop.muon import Muon
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.saving import save_state
from soundloom.training.loop.sharding import gathered, load_optimizer, placed_like, sharded

STATE_FILE = "state.pt"
SHARED_NAMES = ("loss", "gradient")  # values of every turn: where it is not the first, its name comes before them
EMA_POWER = 0.75  # the average warms up: at update k it keeps at most 1 - (1 + k) ** -0.75


class TrainingTask(Protocol):
    """What the loop trains: a module, and its losses at a step, of which "loss" is the one to minimize."""

    @property
    def module(self) -> nn.Module:
        """All that is trained, and what belongs to its state."""
        ...

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Compute the losses of one step."""
        ...


@dataclass(frozen=True)
class OptimizerPhase:
    """Modules that are trained together, in steps of their own while all others rest."""

    name: str
    modules: tuple[nn.Module, ...]
    lr_scale: float = 1.0  # of the loop's learning rate
    betas: tuple[float, ...] = ()  # none means the loop's


@runtime_checkable
class AlternatingTask(TrainingTask, Protocol):
    """A stage whose steps train one part or another, such as a generator and its discriminators.

    `losses` gives those of the step's turn, "loss" being the one that its modules minimize.
    """

    @property
    def auxiliary(self) -> nn.Module:
        """What is trained beside the module and needed no longer at the end: kept in the state, not averaged."""
        ...

    @property
    def phases(self) -> tuple[OptimizerPhase, ...]:
        """All parts, which share no module; the module itself belongs to the first."""
        ...

    def phase(self, step: int) -> OptimizerPhase:
        """Whose step this is."""
        ...


class Trainer:
    """A stage on its way: module, optimizer and average at a step, kept in a file of its folder.

    Raises TrainingError when that file cannot be read or belongs to another model.
    """

    def __init__(
        self,
        task: TrainingTask,
        config: LoopConfig,
        folder: Path,
        distributed: Distributed | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.task, self.config, self.folder = task, config, folder
        self.distributed = distributed or Distributed()
        self.step = 0
        if isinstance(task, AlternatingTask):
            self.auxiliary, self.phases = task.auxiliary, task.phases
        else:
            self.auxiliary, self.phases = nn.Module(), (OptimizerPhase("", (task.module,)),)
        self.callbacks = (JsonlLogger(folder), *callbacks) if self.distributed.is_main else ()
        self._guards = {
            phase.name: DivergenceGuard(config.divergence_factor, config.divergence_patience) for phase in self.phases
        }
        self._require_shares()
        if self.distributed.is_main:
            remove_stale(folder)
        state = read_state(self.state_path) if self.state_path.exists() else {}
        self._losses = self._place(state)
        self.trained = {phase.name: _trainable(phase.modules) for phase in self.phases}
        self.ema = {name: p.detach().clone() for name, p in task.module.named_parameters() if p.requires_grad}
        self.optimizer = Muon(self._groups(), lr=config.learning_rate)
        if state:
            self._restore(state)

    @property
    def state_path(self) -> Path:
        return self.folder / STATE_FILE

    @property
    def finished(self) -> bool:
        return self.step >= self.config.steps

    def train(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until asked to stop between two steps; say whether the end is reached.

        Raises TrainingError when a loss is not finite or stays too high; the state on disk is then from before.
        """
        self.task.module.train()
        self.auxiliary.train()
        for callback in self.callbacks:
            callback.on_train_begin(self.step, self.config.steps)
        try:
            self._train(until)
        finally:
            for callback in self.callbacks:
                callback.on_train_end()
        return self.finished

    def _train(self, until: Callable[[], bool]) -> None:
        started = time.monotonic()
        recent: list[dict[str, float]] = []
        while not self.finished and not self.distributed.any_rank(until()):
            recent.append(self._advance())
            for callback in self.callbacks:
                callback.on_step_end(self.step)
            if self.step % self.config.log_every == 0 or self.finished:
                self._report(recent, (time.monotonic() - started) / len(recent))
                started = time.monotonic()
                recent.clear()
            if self.step % self.config.save_every == 0 and not self._is_high:
                self.save()
        lost = next((guard for guard in self._guards.values() if guard.is_lost), None)
        if self.finished and lost:
            raise lost.error(self.step, self.state_path)
        if self.finished or not self._is_high:
            self.save()

    @property
    def _is_high(self) -> bool:
        """Whether a loss is too high just now; a state from before may be wanted then."""
        return any(guard.is_high for guard in self._guards.values())

    def save(self) -> None:
        """Write the state; a kill or a power cut at any moment leaves the old one or the new one."""
        state = gathered(
            {
                "step": self.step,
                "module": self.task.module.state_dict(),
                "auxiliary": self.auxiliary.state_dict(),
                "ema": self.ema,
                "optimizer": self.optimizer.state_dict(),
            }
        )
        if self.distributed.is_main:
            save_state(self.state_path, state)

    def result(self) -> dict[str, Tensor]:
        """The module's state with averaged weights, on the CPU; all processes must ask for it."""
        return gathered(self.task.module.state_dict() | self.ema)

    def _advance(self) -> dict[str, float]:
        phase = self.task.phase(self.step) if isinstance(self.task, AlternatingTask) else self.phases[0]
        trained = self.trained[phase.name]
        self._set_rates()
        self.optimizer.zero_grad(set_to_none=True)
        resting = (p for name, group in self.trained.items() if name != phase.name for p in group)
        with _frozen(resting):  # they get no gradient, so the optimizer passes them over
            values = self._add_up_gradients()
        if not self.distributed.config.shard:
            self.distributed.all_reduce_gradients(trained)
        norm = nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        values["gradient"] = float(gathered(norm))
        require_finite(values, self.step, self.state_path)
        self._guards[phase.name].watch(values["loss"], self.step, self.state_path)
        self.optimizer.step()
        self.distributed.average_buffers(self.task.module)
        self.distributed.average_buffers(self.auxiliary)
        self.step += 1
        if phase.name == self.phases[0].name:
            self._update_average()
            return values
        return {f"{phase.name} {name}" if name in SHARED_NAMES else name: value for name, value in values.items()}

    def _add_up_gradients(self) -> dict[str, float]:
        """Go forward and back through this process's batches of a step; mean losses over all batches of all."""
        parts = self.config.accumulate
        # Sharded gradients come out as means over the processes, all others are added up afterwards.
        share = (self.distributed.world_size if self.distributed.config.shard else 1) / parts
        names: list[str] = []
        total = torch.zeros((), device=self.distributed.device)
        for part in range(self.distributed.rank, parts, self.distributed.world_size):
            stream = RngStream(self.config.seed, self.step, part, self.distributed.device)
            with self.distributed.autocast():
                losses = self._losses(self.step, stream)
            (share * losses["loss"]).backward()
            names = list(losses)
            total = total + torch.stack([loss.detach().float() for loss in losses.values()])
        means = (self.distributed.all_reduce(total) / parts).tolist()
        return dict(zip(names, means, strict=True))

    def _set_rates(self) -> None:
        rate = learning_rate(self.step, self.config)
        factors = (
            phase.lr_scale * factor for phase in self.phases for factor in (self.config.muon_lr_scale or 1.0, 1.0, 1.0)
        )
        for group, factor in zip(self.optimizer.param_groups, factors, strict=True):
            group["lr"] = factor * rate

    def _update_average(self) -> None:
        keep = min(self.config.ema, 1 - (1 + self.step) ** -EMA_POWER)
        with torch.no_grad():
            for name, ema in self.ema.items():
                ema.lerp_(self._parameters[name], 1 - keep)

    @cached_property
    def _parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.task.module.named_parameters())

    def _report(self, recent: list[dict[str, float]], pace: float) -> None:
        rate = learning_rate(self.step - 1, self.config)
        metrics = StepMetrics(self.step, self.config.steps, _means(recent), rate, pace)
        for callback in self.callbacks:
            callback.on_log(metrics)

    def _groups(self) -> list[dict[str, Any]]:
        """Of each turn: matrices in transformer blocks, other matrices, and parameters that do not decay."""
        config, groups = self.config, []
        modules = (module for phase in self.phases for module in phase.modules)
        if config.muon_lr_scale and not any(any(True for _ in transformer_blocks(module)) for module in modules):
            raise ConfigError(
                "loop.muon_lr_scale is for matrices of transformer blocks, and what is trained here has none"
            )
        for phase in self.phases:
            trained = self.trained[phase.name]
            blocks = (block for module in phase.modules for block in transformer_blocks(module))
            inner = {id(p) for block in blocks for p in block.parameters() if p.ndim == 2}
            kinds = (
                ([p for p in trained if id(p) in inner], config.weight_decay, config.muon_lr_scale > 0),
                ([p for p in trained if p.ndim >= 2 and id(p) not in inner], config.weight_decay, False),
                ([p for p in trained if p.ndim < 2], 0.0, False),
            )
            for parameters, decay, orthogonal in kinds:
                course = {"weight_decay": decay, "betas": phase.betas or config.betas, "orthogonal": orthogonal}
                groups.append({"params": parameters, **course})
        return groups

    def _require_shares(self) -> None:
        parts, world_size = self.config.accumulate, self.distributed.world_size
        if parts % world_size:
            raise ConfigError(
                f"{world_size} processes cannot share the batches of a step: loop.accumulate is {parts}",
                f"a step adds up that many batches; make it a multiple of {world_size}, with smaller batches",
            )
        if self.distributed.config.shard and next(self.auxiliary.parameters(), None) is not None:
            raise EngineError("a stage that trains companions of its model cannot be sharded", "leave out --shard")
        if self.distributed.config.shard and self.config.muon_lr_scale:
            raise EngineError(
                "Muon needs whole matrices, which cannot be sharded", "leave out --shard or loop.muon_lr_scale"
            )

    def _place(self, state: dict[str, Any]) -> Callable[[int, RngStream], dict[str, Tensor]]:
        """Give the modules their weights, their device and all that the machine asks for; what computes losses."""
        module = self.task.module
        if state:
            self._load_weights(state)
        for frozen in self.config.frozen:
            weights = [parameter for name, parameter in module.named_parameters() if name.startswith(frozen)]
            if not weights:
                known = ", ".join(sorted({f"{name.partition('.')[0]}." for name, _ in module.named_parameters()}))
                raise ConfigError(f"no weight has a name that begins with {frozen!r} of loop.frozen", f"known: {known}")
            for parameter in weights:
                parameter.requires_grad_(False)
        module.to(self.distributed.device)
        self.auxiliary.to(self.distributed.device)
        self.distributed.broadcast(module)
        self.distributed.broadcast(self.auxiliary)
        if self.distributed.config.recompute:
            recompute_blocks(module)
        if self.distributed.config.compile:
            compile_blocks(module)
        return sharded(module, self.task.losses) if self.distributed.config.shard else self.task.losses

    def _load_weights(self, state: dict[str, Any]) -> None:
        fill(self.task.module, state["module"], self.state_path)
        fill(self.auxiliary, state.get("auxiliary", {}), self.state_path)  # older states have none

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        ema = state["ema"]
        if {name: value.shape for name, value in ema.items()} != {n: a.shape for n, a in self.ema.items()}:
            raise TrainingError(
                f"{self.state_path} trains other weights than loop.frozen leaves free",
                "what is frozen cannot change on the way",
            )
        before, now = _groups_of(state, self.state_path), self.optimizer.param_groups
        if [_kind(group) for group in before] != [_kind(group) for group in now]:
            raise TrainingError(
                f"{self.state_path} trains other weights, or by another optimizer, than the recipe asks for",
                "loop.muon_lr_scale and what is trained cannot change on the way",
            )
        course = [{name: group[name] for name in ("weight_decay", "betas")} for group in now]
        with damage_named(self.state_path, "it is damaged; remove it to begin anew"):
            load_optimizer(self.optimizer, state["optimizer"])
        for group, settings in zip(self.optimizer.param_groups, course, strict=True):
            group.update(settings)  # the state brings those that it was trained with
        self.ema = {name: placed_like(value, self.ema[name]) for name, value in ema.items()}


def _trainable(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def _groups_of(state: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The groups of an optimizer's state. Raises TrainingError where it has none."""
    groups = state["optimizer"].get("param_groups")
    is_list = isinstance(groups, list) and all(isinstance(group, dict) for group in groups)
    if not is_list or not all(isinstance(group.get("params"), list) for group in groups):
        raise TrainingError(f"{path} holds no state of an optimizer", "it is damaged; remove it to begin anew")
    return groups


def _kind(group: dict[str, Any]) -> tuple[int, bool]:
    """How many parameters an optimizer's group has, and whether Muon steps them."""
    return len(group["params"]), group.get("orthogonal", False)


@contextmanager
def _frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Compute no gradients of these parameters, which saves the work and leaves them without any."""
    held = list(parameters)
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def _means(records: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over the records that have it; steps of different turns have different ones."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: fmean(record[name] for record in records if name in record) for name in names}


def learning_rate(step: int, config: LoopConfig) -> float:
    """Rate at a step: a straight line up, then half a cosine down; in each cycle anew, to half the height."""
    length = config.steps // config.cycles
    cycle = min(step // max(1, length), config.cycles - 1)
    step, highest = step - cycle * length, config.learning_rate * 0.5**cycle
    if step < config.warmup_steps:
        return highest * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, length - config.warmup_steps)
    fall = (1 + math.cos(math.pi * min(share, 1.0))) / 2
    return config.final_learning_rate + (highest - config.final_learning_rate) * fall
