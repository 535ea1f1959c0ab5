"""What a caller learns while work goes on: progress, times and peak memory of each stage, and a way to stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Protocol

from soundloom.errors import Canceled


@dataclass(frozen=True)
class Progress:
    """Where the work is: `step` of `steps` of a stage done; the last event of a stage has `finished` set.

    Of `clips` in all, the group that begins with the `clip`-th is being made. `seconds` is the time since the stage
    began. `host_bytes` and `device_bytes` are peaks, known when it has finished.
    """

    stage: str
    step: int
    steps: int
    seconds: float
    finished: bool = False
    host_bytes: int | None = None
    device_bytes: int | None = None
    clip: int = 1
    clips: int = 1


Listener = Callable[[Progress], None]


class Measured(Protocol):
    """What tells the device memory that the work takes: any engine."""

    def reset_peak(self) -> None: ...

    def peak_memory(self) -> int | None: ...


class Stages:
    """Reports progress to a listener, if there is one, and stops between steps when asked to."""

    def __init__(self, engine: Measured, listener: Listener | None = None, cancel: Event | None = None) -> None:
        self._engine, self._listener, self._cancel = engine, listener, cancel
        self._done, self._group, self._clips = 0, 0, 1

    def begin(self, group: int, clips: int) -> None:
        """Say that the next group is begun, and how many of all clips are in it."""
        self._done, self._group, self._clips = self._done + self._group, group, clips

    @contextmanager
    def stage(self, name: str, steps: int) -> Iterator[Callable[[int], None]]:
        """Run a stage; what is yielded reports that so many of its steps are done."""
        start = time.perf_counter()
        reset_host_peak()
        self._engine.reset_peak()

        def tick(step: int) -> None:
            self._report(Progress(name, step, steps, time.perf_counter() - start))
            if self._cancel is not None and self._cancel.is_set():
                raise Canceled(f"stopped in stage {name}, after {step} of {steps} steps")

        tick(0)
        yield tick
        seconds = time.perf_counter() - start
        peaks = host_peak(), self._engine.peak_memory()
        self._report(Progress(name, steps, steps, seconds, True, *peaks))

    def _report(self, progress: Progress) -> None:
        if self._listener is not None:
            self._listener(replace(progress, clip=self._done + 1, clips=self._clips))


def reset_host_peak() -> None:
    """Forget the process's peak resident memory, where the system lets us (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # elsewhere the peak is that of the whole run, which is still an upper bound


def host_peak() -> int:
    """Return the process's peak resident memory in bytes."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
