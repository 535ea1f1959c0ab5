"""Show the progress of training on stderr, and stop it by Ctrl-C or after a time."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from soundloom.cli.terminal.signals import SIGNALS
from soundloom.training.loop.logging import Callback, StepMetrics


class Stop(Callback):
    """Request a stop after some minutes, or on Ctrl-C or SIGTERM; a second Ctrl-C interrupts at once."""

    def __init__(self, minutes: float) -> None:
        self._deadline = time.monotonic() + 60 * minutes
        self._previous: dict[int, Any] = {}
        self.interrupted = False

    @property
    def requested(self) -> bool:
        return self.interrupted or time.monotonic() >= self._deadline

    def on_train_begin(self, step: int, steps: int) -> None:
        # Ignored signals, as under nohup, stay ignored.
        for number in (n for n in (signal.SIGINT, *SIGNALS) if signal.getsignal(n) is not signal.SIG_IGN):
            self._previous[number] = signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        self.on_train_end()

    def on_train_end(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()


class SaveSignal(Callback):
    """Request that the state is saved after the current step, on SIGUSR1."""

    def __init__(self) -> None:
        self._requested = False
        self._previous: Any = None

    def take(self) -> bool:
        """Return whether a save was requested since the last call."""
        requested, self._requested = self._requested, False
        return requested

    def on_train_begin(self, step: int, steps: int) -> None:
        if hasattr(signal, "SIGUSR1"):  # not on Windows
            self._previous = signal.signal(signal.SIGUSR1, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self._requested = True

    def on_train_end(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGUSR1, self._previous)
            self._previous = None


class Lines(Callback):
    """Print a line for each log, for files and pipes."""

    def __init__(self, stage: str, console: Console) -> None:
        self.stage, self.console = stage, console

    def on_log(self, metrics: StepMetrics) -> None:
        self.console.print(
            f"{self.stage}: step {metrics.step} of {metrics.steps}: {_values(metrics)}; "
            f"{metrics.seconds_per_step:.3g} s a step, {duration(metrics.seconds_left)} left"
        )


class Bar(Callback):
    """Show a bar with the loss and the remaining time in a terminal."""

    def __init__(self, stage: str, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[now]}")
        self._display = Progress(*columns, console=console)
        self._stage = stage
        self._task: TaskID | None = None

    def on_train_begin(self, step: int, steps: int) -> None:
        self._task = self._display.add_task(self._stage, total=steps, completed=step, now="")
        self._display.start()

    def on_step_end(self, step: int) -> None:
        if self._task is not None:
            self._display.update(self._task, completed=step)

    def on_log(self, metrics: StepMetrics) -> None:
        if self._task is not None:
            now = f"{_values(metrics, 3)}; {duration(metrics.seconds_left)} left"
            self._display.update(self._task, now=now)

    def on_train_end(self) -> None:
        self._display.stop()


def progress(stage: str, *, quiet: bool) -> Sequence[Callback]:
    """Return callbacks that show the progress: a bar in a terminal, lines elsewhere, nothing if quiet."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if quiet:
        return ()
    return (Bar(stage, console),) if console.is_terminal else (Lines(stage, console),)


def _values(metrics: StepMetrics, limit: int | None = None) -> str:
    """Return metrics as text, without the details, whose names have a slash."""
    values = [(name, value) for name, value in metrics.values.items() if "/" not in name]
    return ", ".join(f"{name} {value:.4g}" for name, value in values[:limit])


def duration(seconds: float) -> str:
    """Format a duration as hours and minutes, minutes, or seconds."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if seconds >= 100 else f"{seconds:.0f} s"
