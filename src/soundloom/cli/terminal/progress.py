"""Show progress bars and a final summary on stderr."""

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
class ProgressStage:
    """Total seconds of a stage over all passes, and its peak host and device memory in bytes."""

    seconds: float = 0.0
    host_bytes: int | None = None
    device_bytes: int | None = None


@dataclass(frozen=True)
class SavedClip:
    """Facts about a clip that was saved to a file."""

    path: str
    seconds: float
    sample_rate: int
    channels: int
    record: Mapping[str, Any]


class ProgressDisplay:
    """Callback that shows `Progress` events in a terminal, and sums up the time of each stage."""

    def __init__(self, *, quiet: bool = False, clips: int = 1) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
        columns = TextColumn("{task.description:<7}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._live = self.console.is_terminal and not quiet
        # Results printed in the meantime must go to stdout, not to the display on stderr.
        self._display = Display(
            *columns, console=self.console, transient=True, disable=not self._live, redirect_stdout=False
        )
        self._clips = clips
        self._tasks: dict[str, TaskID] = {}
        if clips > 1:
            self._count_task = self._display.add_task("", total=clips)
            self.count(0)
        self._start = time.perf_counter()
        self.stages: dict[str, ProgressStage] = {}
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
            stage = self.stages.setdefault(event.stage, ProgressStage())
            stage.seconds += event.seconds
            stage.host_bytes = _larger(stage.host_bytes, event.host_bytes)
            stage.device_bytes = _larger(stage.device_bytes, event.device_bytes)

    def count(self, done: int) -> None:
        """Update the number of saved clips."""
        if self._clips > 1:
            text = f"clip {min(done + 1, self._clips)} of {self._clips}"
            self._display.update(self._count_task, completed=done, description=text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the display while results are printed to the same terminal."""
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
        """Return the maximum resident memory of all stages."""
        return max((stage.host_bytes for stage in self.stages.values() if stage.host_bytes), default=None)

    def print(self, line: str) -> None:
        """Print a line, unless quiet."""
        self.console.print(escaped(line))


def _larger(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _model_facts(record: Mapping[str, Any]) -> str:
    if record["model"] == EMBEDDED:
        return "the tiny model included in soundloom, trained on synthetic sounds"
    return f"weights {record['model_hash']}, license {record['license']}"


def _settings(request: Mapping[str, Any]) -> str:
    if "sampler" in request:
        return f"{request['steps']} steps of {request['sampler']}"
    sampling = f"top-p {request['top_p']:g}" if request["top_p"] else f"top-k {request['top_k']}"
    return f"temperature {request['temperature']:g}, {sampling}, guidance {request['guidance']:g}"


def print_summary(display: ProgressDisplay, clips: Sequence[SavedClip]) -> None:
    """Print model, settings, time per stage, and peak memory."""
    record, seconds = clips[0].record, sum(clip.seconds for clip in clips)
    display.print(f"{record['model']}: {_model_facts(record)}")
    seeds = ", ".join(str(clip.record["seed"]) for clip in clips[:SEEDS_SHOWN])
    if len(clips) > SEEDS_SHOWN:
        seeds = f"{seeds} … {clips[-1].record['seed']}"
    machine = f"{record['engine']} on {record['device']}, {record['precision']}"
    display.print(f"seed {seeds} · {_settings(record['request'])} · {machine}")
    for name, stage in display.stages.items():
        device = f", {stage.device_bytes / 2**20:.0f} MiB on the device" if stage.device_bytes else ""
        host = f"{stage.host_bytes / 2**20:7.0f} MiB" if stage.host_bytes else ""
        display.print(f"  {name:<7} {stage.seconds:7.2f} s {host}{device}")
    peak = f", peak memory {display.peak_bytes / 2**20:.0f} MiB" if display.peak_bytes else ""
    speed = f"{seconds / display.seconds:.3g} times real time"
    display.print(f"  total   {display.seconds:7.2f} s for {seconds:.2f} s of audio, {speed}{peak}")


def summary(display: ProgressDisplay, clips: Sequence[SavedClip]) -> dict[str, Any]:
    """Return files, metadata, times, and peak memory as JSON-compatible values."""
    seconds = sum(clip.seconds for clip in clips)
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
        "stages": {name: vars(stage) for name, stage in display.stages.items()},
        "total_seconds": display.seconds,
        "times_real_time": seconds / display.seconds,
        "peak_bytes": display.peak_bytes,
    }
