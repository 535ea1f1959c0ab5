"""Measure one case in this process, and print its figures as JSON: python -m soundloom.bench.measure CASE FOLDER BEGAN.

The cold run frees each network after use, as the command line does; warm runs keep them loaded.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from soundloom.bench.cases import Case, Figures
from soundloom.pipeline.load import load_stable_audio
from soundloom.pipeline.progress import Progress, host_peak
from soundloom.pipeline.stable_audio.model import Model

PROMPT = "kick drum loop, 120 BPM"


class ProgressRecorder:
    """Callback that records the time of the first sampling step, each stage's time, and the peak device memory."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first_step: float | None = None  # seconds since the epoch
        self.stages: dict[str, float] = {}
        self.device_bytes = 0

    def __call__(self, progress: Progress) -> None:
        if progress.stage == "sample" and progress.step == 1 and self.first_step is None:
            self.first_step = time.time()
        if progress.finished:
            self.stages[progress.stage] = progress.seconds
            self.device_bytes = max(self.device_bytes, progress.device_bytes or 0)

    def figures(self) -> Figures:
        return {"seconds": time.perf_counter() - self.began, "stages": self.stages}


def measure(case: Case, folder: Path, began: float) -> Figures:
    """Return cold seconds since the start of the process, warm seconds, and peak memory in bytes."""
    # Random weights generate noise, which fails the checks of clips.
    model = load_stable_audio(folder, engine=case.engine, precision=case.precision, threads=case.threads, keep_bad=True)
    cold = _run(model, case)
    since_start = time.time() - began
    figures = {
        "engine": model.engine.describe(),
        "cold": {"seconds": since_start, "first_step": (cold.first_step or began) - began, "stages": cold.stages},
        "peak": {"host": host_peak(), "device": cold.device_bytes},
    }
    if case.runs:
        model.keep_loaded = True
        _run(model, case)  # loads the networks
        runs = [_run(model, case).figures() for _ in range(case.runs)]
        seconds = median(run["seconds"] for run in runs)
        stages = {name: median(run["stages"][name] for run in runs) for name in runs[0]["stages"]}
        figures["warm"] = {"seconds": seconds, "times_real_time": case.seconds / seconds, "stages": stages}
    return figures


def _run(model: Model, case: Case) -> ProgressRecorder:
    recorder = ProgressRecorder()
    model.generate(PROMPT, seconds=case.seconds, steps=case.steps, seed=0, progress=recorder)
    return recorder


def main(arguments: list[str]) -> None:
    case, folder, began = arguments
    values: dict[str, Any] = json.loads(case)
    sys.stdout.write(json.dumps(measure(Case(**values), Path(folder), float(began))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
