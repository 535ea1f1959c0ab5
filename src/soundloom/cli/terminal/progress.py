"""What is seen of the work: progress while it lasts, a summary when it is done. All on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from soundloom.cli.terminal.streams import escaped
from soundloom.pipeline.progress import Progress

EMBEDDED = "mini"
SEEDS_SHOWN = 8


@dataclass
class Stage:
    """What one stage took, over all passes: seconds, and peak bytes of the host's and the device's memory."""

    seconds: float = 0.0
    host_bytes: int | None = None
    device_bytes: int | None = None


@dataclass(frozen=True)
class Saved:
    """What is said of a clip once it lies in a file."""

    path: str
    seconds: float
    sample_rate: int
    channels: int
    record: Mapping[str, Any]


class Watch:
    """Listens to `Progress` events, shows them in a terminal, and adds up what the stages took.

    Of several clips it shows which one is being made.
    """

    def __init__(self, *, quiet: bool = False, clips: int = 1) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
        columns = TextColumn("{task.description:<7}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._live = self.console.is_terminal and not quiet
        # What is printed meanwhile is a result, which must not go where the display goes.
        self._display = Display(
            *columns, console=self.console, transient=True, disable=not self._live, redirect_stdout=False
        )
        self._clips = clips
        self._tasks: dict[str, TaskID] = {}
        if clips > 1:
            self._count_task = self._display.add_task("", total=clips)
            self.count(0)
        self._start = time.perf_counter()
        self.stages: dict[str, Stage] = {}
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        self._display.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._display.stop()
        self.seconds = time.perf_counter() - self._start

    def __call__(self, event: Progress) -> None:
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._display.add_task(event.stage)
        self._display.update(self._tasks[event.stage], completed=event.step, total=event.steps)
        if event.finished:
            stage = self.stages.setdefault(event.stage, Stage())
            stage.seconds += event.seconds
            stage.host_bytes = _larger(stage.host_bytes, event.host_bytes)
            stage.device_bytes = _larger(stage.device_bytes, event.device_bytes)

    def count(self, done: int) -> None:
        """Show that so many clips are saved."""
        if self._clips > 1:
            text = f"clip {min(done + 1, self._clips)} of {self._clips}"
            self._display.update(self._count_task, completed=done, description=text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the display away while something is printed where it may stand."""
        if not self._live:
            yield
            return
        self._display.stop()
        try:
            yield
        finally:
            self._display.start()

    @property
    def peak_bytes(self) -> int | None:
        """The largest resident memory of any stage."""
        return max((stage.host_bytes for stage in self.stages.values() if stage.host_bytes), default=None)

    def say(self, line: str) -> None:
        """Print a line, unless quiet."""
        self.console.print(escaped(line))


def _larger(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _about(record: Mapping[str, Any]) -> str:
    if record["model"] == EMBEDDED:
        return "the tiny model inside soundloom, trained on sounds that soundloom makes itself"
    return f"weights {record['model_hash']}, license {record['license']}"


def _how(request: Mapping[str, Any]) -> str:
    if "sampler" in request:
        return f"{request['steps']} steps of {request['sampler']}"
    drawn = f"top-p {request['top_p']:g}" if request["top_p"] else f"top-k {request['top_k']}"
    return f"temperature {request['temperature']:g}, {drawn}, guidance {request['guidance']:g}"


def summarize(watch: Watch, clips: Sequence[Saved]) -> None:
    """Say what was made, how, and what it took."""
    record, made = clips[0].record, sum(clip.seconds for clip in clips)
    watch.say(f"{record['model']}: {_about(record)}")
    seeds = ", ".join(str(clip.record["seed"]) for clip in clips[:SEEDS_SHOWN])
    if len(clips) > SEEDS_SHOWN:
        seeds = f"{seeds} … {clips[-1].record['seed']}"
    watch.say(
        f"seed {seeds} · {_how(record['request'])} · {record['engine']} on {record['device']}, {record['precision']}"
    )
    for name, stage in watch.stages.items():
        device = f", {stage.device_bytes / 2**20:.0f} MiB on the device" if stage.device_bytes else ""
        host = f"{stage.host_bytes / 2**20:7.0f} MiB" if stage.host_bytes else ""
        watch.say(f"  {name:<7} {stage.seconds:7.2f} s {host}{device}")
    peak = f", peak memory {watch.peak_bytes / 2**20:.0f} MiB" if watch.peak_bytes else ""
    watch.say(
        f"  total   {watch.seconds:7.2f} s for {made:.2f} s of sound, {made / watch.seconds:.3g} times real time{peak}"
    )


def report(watch: Watch, clips: Sequence[Saved]) -> dict[str, Any]:
    """The same, and more, as plain data."""
    made = sum(clip.seconds for clip in clips)
    return {
        "files": [clip.path for clip in clips],
        "clips": [
            {
                "path": clip.path,
                "seconds": clip.seconds,
                "sample_rate": clip.sample_rate,
                "channels": clip.channels,
                **clip.record,
            }
            for clip in clips
        ],
        "stages": {name: vars(stage) for name, stage in watch.stages.items()},
        "total_seconds": watch.seconds,
        "times_real_time": made / watch.seconds,
        "peak_bytes": watch.peak_bytes,
    }
