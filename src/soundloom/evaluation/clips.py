"""Clips from a model for all that is measured: in batches, and going on where one of them is not sound."""

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
    """A clip for each request, or None where the model made silence or something that is not finite."""
    clips: list[Clip | None] = []
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        try:
            clips += model.run(batch)
        except OutputError:
            clips += [_make(model, request) for request in batch]
    return clips


def _make(model: Model, request: GenerationRequest) -> Clip | None:
    try:
        return model.run([request])[0]
    except OutputError:
        return None


def wall_seconds(source: str, seconds: float, steps: int | None, flags: Sequence[str] = ()) -> list[float]:
    """Wall time of whole processes that load a model and make one clip, with more flags if given.

    Raises CalledProcessError where one fails.
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
