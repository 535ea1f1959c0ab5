"""Compare two programs in alternating runs, so that other load on the machine affects both equally."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from soundloom.bench.cases import Case, Figures, failure


def alternate(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> Figures:
    """Return the median seconds of each, and the median ratio of theirs to ours over the pairs of runs."""
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(runs)]
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
    """Compare `soundloom generate`, started cold, with another command. Raises SoundloomError if one fails."""
    ours = [sys.executable, "-m", "soundloom", "generate", "rain", "--model", str(folder), "--seed", "0", "--quiet"]
    ours += ["--seconds", f"{case.seconds:g}", "--steps", str(case.steps), "--precision", case.precision]
    ours += ["--engine", case.engine]
    ours += ["--out", str(folder / "bench.wav")]
    return alternate(lambda: _run(ours), lambda: _run(shlex.split(command)), case.runs)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise failure(f"{shlex.join(command)} failed", done.stderr)
