"""Generate the clips that are measured: in batches, or by timed processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from subprocess import DEVNULL, run

from soundloom.atomic import temporary_folder
from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import OutputError
from soundloom.pipeline.stable_audio.model import Model

BATCH = 16
RUNS = 3


def generate_clips(model: Model, requests: Sequence[GenerationRequest]) -> list[Clip | None]:
    """Generate a clip for each request; None where the model's output is silent or not finite."""
    clips: list[Clip | None] = []
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        try:
            clips += model.run(batch)
        except OutputError:
            clips += [_generate(model, request) for request in batch]
    return clips


def _generate(model: Model, request: GenerationRequest) -> Clip | None:
    try:
        return model.run([request])[0]
    except OutputError:
        return None


def wall_seconds(source: str, seconds: float, steps: int | None, flags: Sequence[str] = ()) -> list[float]:
    """Measure the wall time of processes that load a model and generate one clip, with extra flags.

    Raises CalledProcessError when one fails.
    """
    times = []
    with temporary_folder() as folder:
        out = str(folder / "clip.wav")
        command = [sys.executable, "-m", "soundloom", "generate", "a 440 Hz tone", "--model", source, "--seed", "1"]
        command += ["--seconds", f"{seconds:g}", *flags, "-q", "-o", out]
        command += ["--steps", str(steps)] if steps else []
        for _ in range(RUNS):
            start = time.perf_counter()
            run(command, check=True, stdout=DEVNULL, stderr=DEVNULL)
            times.append(time.perf_counter() - start)
    return times
