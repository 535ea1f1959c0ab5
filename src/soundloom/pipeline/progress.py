"""Report progress: steps, times and peak memory of each stage, and a way to cancel."""

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
    """A progress event: `step` of `steps` of a stage are done; the last event of a stage has `finished` set.

    The group that starts with clip number `clip`, of `clips` in total, is running. `seconds` is the time since the
    stage started. When it has finished, `host_bytes` is the process's peak resident memory so far, `device_bytes` the
    stage's peak on the device.
    """

    stage: str
    step: int
    steps: int
    seconds: float = 0.0
    finished: bool = False
    host_bytes: int | None = None
    device_bytes: int | None = None
    clip: int = 1
    clips: int = 1


ProgressCallback = Callable[[Progress], None]


class MemoryMeter(Protocol):
    """Measures device memory: any engine."""

    def reset_peak(self) -> None: ...

    def peak_memory(self) -> int | None: ...


class ProgressReporter:
    """Calls a progress callback, if there is one, and raises Canceled between steps when `cancel` is set."""

    def __init__(
        self,
        engine: MemoryMeter,
        callback: ProgressCallback | None = None,
        cancel: Event | None = None,
        clips: int = 1,
    ) -> None:
        self._engine, self._callback, self._cancel = engine, callback, cancel
        self.clip, self.clips = 1, clips  # the first clip of the running group, and how many there are in total

    @contextmanager
    def stage(self, name: str, steps: int) -> Iterator[Callable[[int], None]]:
        """Run a stage; call the yielded function with the number of finished steps."""
        start = time.perf_counter()
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
        if self._callback is not None:
            self._callback(replace(progress, clip=self.clip, clips=self.clips))


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
