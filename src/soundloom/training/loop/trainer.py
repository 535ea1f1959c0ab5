"""Train a stage's task: optimizer steps, EMA, logging, and a state that resumes bit for bit.

The random numbers of a step depend on the seed and the step's number alone. A run therefore resumes from one integer,
without saved generators or data positions. A step accumulates the gradients of one or several micro-batches, each with
its own random numbers, so the number of processes that divide them does not change the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from soundloom.errors import ConfigError, EngineError, TrainingError
from soundloom.temporary import remove_stale
from soundloom.training.config import LoopConfig
from soundloom.training.loop.base import TrainingLoop
from soundloom.training.loop.blocks import compile_blocks, recompute_blocks
from soundloom.training.loop.checkpoint import STATE_FILE, load_weights, read_state, save_state
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.guards import require_finite
from soundloom.training.loop.logging import Callback, JsonlLogger
from soundloom.training.loop.optimizer import (
    build_optimizer,
    restore_optimizer,
    set_learning_rates,
    trainable,
)
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.sharding import gathered, placed_like, sharded
from soundloom.training.loop.task import AlternatingTask, OptimizerPhase, ReportingTask, TrainingTask

SHARED_NAMES = ("loss", "gradient")  # metrics of every phase; those of later phases are prefixed by its name


class Trainer(TrainingLoop):
    """Train a task from the state in a folder, or from the start.

    Raises TrainingError when the state cannot be read or belongs to another model.
    """

    def __init__(
        self,
        task: TrainingTask,
        config: LoopConfig,
        folder: Path,
        distributed: Distributed | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.task, self.folder = task, folder
        self.distributed = distributed or Distributed()
        if isinstance(task, AlternatingTask):
            self.auxiliary, self.phases = task.auxiliary, task.phases
        else:
            self.auxiliary, self.phases = nn.Module(), (OptimizerPhase("", (task.module,)),)
        of_process = (JsonlLogger(folder), *callbacks) if self.distributed.is_main else ()
        super().__init__(config, folder / STATE_FILE, of_process, [phase.name for phase in self.phases])
        self._require_compatible()
        if self.distributed.is_main:
            remove_stale(folder)
        state = read_state(self.state_path) if self.state_path.exists() else {}
        self._losses = self._prepare(state)
        self.trained = {phase.name: trainable(phase.modules) for phase in self.phases}
        self.ema = {name: p.detach().clone() for name, p in task.module.named_parameters() if p.requires_grad}
        self.optimizer = build_optimizer(self.phases, config)
        if state:
            self._restore(state)

    def train(self, until: Callable[[], bool] = lambda: False, save_now: Callable[[int], bool] | None = None) -> bool:
        self.task.module.train()
        self.auxiliary.train()
        return super().train(until, save_now)

    def _report(self) -> Mapping[str, float] | None:
        if not isinstance(self.task, ReportingTask):
            return None
        return self.task.report(self.step, self.distributed.all_reduce)

    def _any_process(self, value: bool) -> bool:
        return self.distributed.any_rank(value)

    def save(self) -> None:
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
        for callback in self.callbacks:
            callback.on_save(self.step)

    def result(self) -> dict[str, Tensor]:
        """Return the module's state with EMA weights, on the CPU; all processes must call it."""
        return gathered(self.task.module.state_dict() | self.ema)

    def _advance(self) -> dict[str, float]:
        phase = self.task.phase(self.step) if isinstance(self.task, AlternatingTask) else self.phases[0]
        trained = self.trained[phase.name]
        set_learning_rates(self.optimizer, self.phases, self.config, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        others = (p for name, group in self.trained.items() if name != phase.name for p in group)
        with _frozen(others):  # without gradients the optimizer skips them
            values = self._accumulate_gradients()
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
            self._update_ema()
            return values
        return {f"{phase.name} {name}" if name in SHARED_NAMES else name: value for name, value in values.items()}

    def _accumulate_gradients(self) -> dict[str, float]:
        """Run this process's micro-batches forward and backward; return the mean losses of all processes."""
        micro_batches = self.config.accumulate
        # FSDP averages gradients over the processes; without it they are summed afterwards.
        share = (self.distributed.world_size if self.distributed.config.shard else 1) / micro_batches
        names: list[str] = []
        total = torch.zeros((), device=self.distributed.device)
        for micro_batch in range(self.distributed.rank, micro_batches, self.distributed.world_size):
            stream = RngStream(self.config.seed, self.step, micro_batch, self.distributed.device)
            with self.distributed.autocast():
                losses = self._losses(self.step, stream)
            (share * losses["loss"]).backward()
            names = list(losses)
            total = total + torch.stack([loss.detach().float() for loss in losses.values()])
        means = (self.distributed.all_reduce(total) / micro_batches).tolist()
        return dict(zip(names, means, strict=True))

    def _update_ema(self) -> None:
        decay = self.ema_decay()
        with torch.no_grad():
            for name, ema in self.ema.items():
                ema.lerp_(self._parameters[name], 1 - decay)

    @cached_property
    def _parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.task.module.named_parameters())

    def _require_compatible(self) -> None:
        """Raise ConfigError or EngineError where the settings do not suit the processes."""
        micro_batches, world_size = self.config.accumulate, self.distributed.world_size
        if micro_batches % world_size:
            raise ConfigError(
                f"{world_size} processes cannot divide a step evenly: loop.accumulate is {micro_batches}",
                f"set it, the number of micro-batches per step, to a multiple of {world_size}, with smaller batches",
            )
        if self.distributed.config.shard and next(self.auxiliary.parameters(), None) is not None:
            raise EngineError("a stage that trains auxiliary modules cannot be sharded", "leave out --shard")
        if self.distributed.config.shard and self.config.muon_lr_scale:
            hint = "leave out --shard or loop.muon_lr_scale"
            raise EngineError("Muon needs complete matrices, which sharding splits", hint)

    def _prepare(self, state: dict[str, Any]) -> Callable[[int, RngStream], dict[str, Tensor]]:
        """Load, freeze, place and wrap the modules; return the function that computes losses."""
        module, options = self.task.module, self.distributed.config
        if state:
            load_weights(module, state["module"], self.state_path)
            load_weights(self.auxiliary, state["auxiliary"], self.state_path)
        self._freeze(module)
        for each in (module, self.auxiliary):
            each.to(self.distributed.device)
            self.distributed.broadcast(each)
        if options.recompute:
            recompute_blocks(module)
        if options.compile:
            compile_blocks(module)
        return sharded(module, self.task.losses) if options.shard else self.task.losses

    def _freeze(self, module: nn.Module) -> None:
        for prefix in self.config.frozen:
            weights = [parameter for name, parameter in module.named_parameters() if name.startswith(prefix)]
            if not weights:
                known = ", ".join(sorted({f"{name.partition('.')[0]}." for name, _ in module.named_parameters()}))
                raise ConfigError(f"no weight's name starts with {prefix!r}, as loop.frozen asks", f"known: {known}")
            for parameter in weights:
                parameter.requires_grad_(False)

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        ema = state["ema"]
        if {name: value.shape for name, value in ema.items()} != {n: e.shape for n, e in self.ema.items()}:
            raise TrainingError(
                f"{self.state_path} trains other weights than the recipe", "loop.frozen cannot change during a run"
            )
        restore_optimizer(self.optimizer, state["optimizer"], self.state_path)
        self.ema = {name: placed_like(value, self.ema[name]) for name, value in ema.items()}


@contextmanager
def _frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Freeze parameters for a while, which saves the computation of their gradients."""
    frozen = list(parameters)
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
