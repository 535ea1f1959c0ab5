"""Ours against others in one run, turn by turn, so that whatever slows the machine slows both."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from soundloom.bench.cases import Case, Figures, failure, run_module


def alternate(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> Figures:
    """Return both medians in seconds and how many times as fast ours is, by the median of the ratios of turns."""
    turns = [(_seconds(ours), _seconds(theirs)) for _ in range(runs)]
    return {
        "ours": median(own for own, _ in turns),
        "theirs": median(other for _, other in turns),
        "times_as_fast": median(other / own for own, other in turns),
    }


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def versus_command(case: Case, folder: Path, command: str) -> Figures:
    """Compare whole processes: our command line, cold, and any other command. Raises SoundloomError if one fails."""
    ours = [sys.executable, "-m", "soundloom", "generate", "rain", "--model", str(folder), "--seed", "0", "--quiet"]
    ours += ["--seconds", f"{case.seconds:g}", "--steps", str(case.steps), "--precision", case.precision]
    ours += ["--engine", case.engine]
    ours += ["--out", str(folder / "bench.wav")]
    return alternate(lambda: _run(ours), lambda: _run(shlex.split(command)), case.runs)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise failure(f"{shlex.join(command)} failed", done.stderr)


def diffusers_apart(case: Case, folder: Path) -> Figures:
    """Compare with diffusers in a process of its own; see `bench.diffusers`."""
    figures: Figures = json.loads(run_module("benchmarks.versus_diffusers", json.dumps(asdict(case)), str(folder)))
    return figures
