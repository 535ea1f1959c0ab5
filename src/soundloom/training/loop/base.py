"""The loop of training runs on any framework: steps, logs, guards against divergence, and when the state is saved."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from soundloom.training.config import LoopConfig
from soundloom.training.loop.guards import DivergenceGuard
from soundloom.training.loop.logging import Callback, StepMetrics
from soundloom.training.loop.schedule import learning_rate

EMA_POWER = 0.75  # the EMA warms up: at update k its decay is at most 1 - (1 + k) ** -0.75


class TrainingLoop(ABC):
    """Takes steps until the last one, from the step at which a saved state stands."""

    def __init__(
        self, config: LoopConfig, state_path: Path, callbacks: Sequence[Callback], phases: Iterable[str] = ("",)
    ) -> None:
        """`callbacks` are those of this process; a guard watches the loss of each phase."""
        self.config, self.state_path, self.callbacks = config, state_path, callbacks
        self.step = 0
        limits = config.divergence_factor, config.divergence_patience
        self._guards = {phase: DivergenceGuard(*limits) for phase in phases}

    @abstractmethod
    def save(self) -> None:
        """Write the state. A kill or a power cut leaves either the old state or the new one."""

    @abstractmethod
    def _advance(self) -> dict[str, float]:
        """Take one optimizer step and return its metrics."""

    def _report(self) -> Mapping[str, float] | None:
        """Return what is measured when metrics are logged and before the first step; None for nothing."""
        return None

    def _any_process(self, value: bool) -> bool:
        """Whether a value is true on any process."""
        return value

    @property
    def finished(self) -> bool:
        return self.step >= self.config.steps

    def train(self, until: Callable[[], bool] = lambda: False, save_now: Callable[[int], bool] | None = None) -> bool:
        """Train to the last step, or until a step after which `until()` is true; return whether training finished.

        The state is also saved after a step for which `save_now` is true on any process. Raises TrainingError when a
        loss is not finite or stays too high. The saved state is then from before.
        """
        for callback in self.callbacks:
            callback.on_train_begin(self.step, self.config.steps)
        try:
            self._train(until, save_now)
        finally:
            for callback in self.callbacks:
                callback.on_train_end()
        return self.finished

    def _train(self, until: Callable[[], bool], save_now: Callable[[int], bool] | None) -> None:
        started = time.monotonic()
        recent: list[dict[str, float]] = []
        if self.step == 0 and (measured := self._report()) is not None:
            self._log(recent, 0.0, measured)
        while not self.finished and not self._any_process(until()):
            recent.append(self._advance())
            for callback in self.callbacks:
                callback.on_step_end(self.step)
            if self.step % self.config.log_every == 0 or self.finished:
                self._log(recent, (time.monotonic() - started) / len(recent), self._report() or {})
                started = time.monotonic()
                recent.clear()
            is_wanted = save_now is not None and self._any_process(save_now(self.step))
            is_due = is_wanted or self.step % self.config.save_every == 0
            if is_due and not self._is_high and not self.finished:  # the last state is saved below
                self.save()
        diverged = next((guard for guard in self._guards.values() if guard.has_diverged), None)
        if self.finished and diverged:
            raise diverged.error(self.step, self.state_path)
        if self.finished or not self._is_high:
            self.save()

    @property
    def _is_high(self) -> bool:
        """Whether a loss is too high at the moment, so that an earlier state may be needed."""
        return any(guard.is_high for guard in self._guards.values())

    def ema_decay(self) -> float:
        """Return the decay of the EMA after a step."""
        return min(self.config.ema, 1 - (1 + self.step) ** -EMA_POWER)

    def _log(
        self, recent: Sequence[Mapping[str, float]], seconds_per_step: float, measured: Mapping[str, float]
    ) -> None:
        rate = learning_rate(max(0, self.step - 1), self.config)
        values = {**_means(recent), **measured}
        metrics = StepMetrics(self.step, self.config.steps, values, rate, seconds_per_step)
        for callback in self.callbacks:
            callback.on_log(metrics)


def _means(records: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each value over the records that have it; steps of different phases have different ones."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: fmean(record[name] for record in records if name in record) for name in names}
