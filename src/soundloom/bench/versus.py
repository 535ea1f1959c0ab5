"""Compare two programs in alternating runs, so that other load on the machine affects both equally."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from soundloom.bench import child
from soundloom.bench.cases import Case, Figures, failure

# Settings of OpenMP and of the libraries that read it: both programs run as in a user's plain environment.
_THREAD_SETTINGS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")


def alternate(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> Figures:
    """Return the median seconds of each, and the median ratio of theirs to ours over the pairs of runs."""
    return _compare([(_seconds(ours), _seconds(theirs)) for _ in range(runs)])


def _compare(pairs: Sequence[tuple[float, float]]) -> Figures:
    return {
        "ours": median(own for own, _ in pairs),
        "theirs": median(other for _, other in pairs),
        "times_as_fast": median(other / own for own, other in pairs),
    }


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def versus_command(case: Case, folder: Path, command: str) -> Figures:
    """Compare `soundloom generate` with another command: seconds and peak memory of whole processes.

    One run of each comes first and does not count: it brings files into the system's cache. Peaks are in bytes, the
    largest over all runs; their ratio is ours to theirs. Raises SoundloomError if a command fails.
    """
    with tempfile.TemporaryDirectory() as out:
        ours, theirs = _generate_command(case, folder, Path(out)), shlex.split(command)
        pairs = [(_run(ours), _run(theirs)) for _ in range(case.runs + 1)][1:]
    figures = _compare([(own["seconds"], other["seconds"]) for own, other in pairs])
    if pairs[0][0]["bytes"] is None:
        return figures
    own_peak, other_peak = (max(pair[side]["bytes"] for pair in pairs) for side in (0, 1))
    return figures | {"our_bytes": own_peak, "their_bytes": other_peak, "times_the_memory": own_peak / other_peak}


def _generate_command(case: Case, folder: Path, out: Path) -> list[str]:
    command = [sys.executable, "-m", "soundloom", "generate", "rain", "--model", str(folder), "--seed", "0", "--quiet"]
    command += ["--seconds", f"{case.seconds:g}", "--steps", str(case.steps), "--precision", case.precision]
    command += ["--engine", case.engine, "--keep-bad"]  # random weights generate noise, which fails the checks of clips
    command += [] if case.threads is None else ["--threads", str(case.threads)]
    return [*command, "--out", str(out / "bench.wav")]


def _run(command: Sequence[str]) -> Figures:
    """Run a command without thread settings of this shell; return its seconds and its peak memory in bytes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_THREAD_SETTINGS)}
    started = [sys.executable, "-I", "-S", child.__file__, *command]
    done = subprocess.run(started, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise failure(f"{shlex.join(command)} failed", done.stderr)
    figures: Figures = json.loads(done.stdout)
    return figures
