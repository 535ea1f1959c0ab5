"""Define benchmark cases, and run each in a new process on random weights."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from soundloom.atomic import atomic_folder
from soundloom.errors import SoundloomError
from soundloom.folders import cache_folder
from soundloom.version import __version__

Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One clip of a model in a precision: a cold run, then `runs` warm runs.

    `engine` "auto" is the default engine of this machine.
    """

    model: str
    seconds: float
    precision: str
    steps: int = 8
    runs: int = 3
    engine: str = "auto"
    threads: int | None = None

    @property
    def key(self) -> str:
        """Return a name that identifies comparable measurements."""
        engine = "" if self.engine == "auto" else f" {self.engine}"
        threads = "" if self.threads is None else f" {self.threads} threads"
        return f"{self.model} {self.seconds:g} s {self.precision} {self.steps} steps{engine}{threads}"


def make_cases(
    models: Sequence[str],
    seconds: Sequence[float],
    precisions: Sequence[str],
    steps: int,
    runs: int,
    engine: str = "auto",
    threads: int | None = None,
) -> list[Case]:
    return [Case(*values, steps, runs, engine, threads) for values in product(models, seconds, precisions)]


def weights_folder() -> Path:
    """Return the cache folder of the random weights."""
    return cache_folder() / "random-weights"


def require_weights(model: str, work: Path) -> Path:
    """Return the folder of a model's random weights; generate them atomically if they are missing."""
    folder = work / model
    if not folder.exists():
        with atomic_folder(folder) as new:
            run_module("soundloom.testing.stable_audio", model, str(new))
    return folder


def measure(cases: Sequence[Case], work: Path) -> Iterator[Figures]:
    """Measure cases one after the other, and yield the figures of each; see `measure.measure`."""
    for case in cases:
        folder = require_weights(case.model, work)
        began = time.time()
        printed = run_module("soundloom.bench.measure", json.dumps(asdict(case)), str(folder), str(began))
        yield {"case": case.key, **asdict(case), **json.loads(printed)}


def run_module(module: str, *arguments: str) -> str:
    """Run a module in a new interpreter, and return the last line of its output. Raises SoundloomError."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise failure(f"{module} failed for {' '.join(arguments)}", done.stderr)
    return (done.stdout.splitlines() or [""])[-1]


def failure(what: str, stderr: str) -> SoundloomError:
    """Return an error with the last line of a process's stderr, and its hint if it has one."""
    lines = stderr.strip().splitlines() or ["no error message"]
    hint = lines.pop().removeprefix("hint: ") if len(lines) > 1 and lines[-1].startswith("hint: ") else ""
    return SoundloomError(f"{what}: {lines[-1]}", hint)


def machine() -> Figures:
    """Return facts about this machine that figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "soundloom": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
    }
