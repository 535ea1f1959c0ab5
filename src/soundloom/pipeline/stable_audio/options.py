"""Options of the calls that generate and edit with Stable Audio models."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TypedDict

from soundloom.config.stable_audio.adapters import LorasLike
from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.config.stable_audio.request import Compat, Guidance
from soundloom.pipeline.progress import ProgressCallback


class _CommonKwargs(TypedDict, total=False):
    """Options of every call; see `GenerationRequest` for those that describe the audio.

    `loras` are adapters for this call, instead of those added to the model: names or files and their strengths.
    `progress` is called with `Progress` events, `cancel` stops the work between two steps.
    """

    steps: int | None
    sampler: str | None
    guidance: float | Guidance | None
    shift: ShiftConfig | None
    duration_padding: float
    compat: str | Compat
    strict_words: bool
    mix: float | Sequence[tuple[float, float]] | None
    loras: LorasLike | None
    progress: ProgressCallback | None
    cancel: Event | None


class GenerateKwargs(_CommonKwargs, total=False):
    """Options of `Model.generate`."""

    prompt_b: str | Sequence[str | None] | None
    negative_prompt: str | Sequence[str | None] | None
    seconds: float | Sequence[float | None] | None
    seed: int | Sequence[int | None] | None
    bars: float | None
    bpm: float | None
    meter: str
    loop: bool
    seam: float
    crossfade: float
    passes: bool


class EditKwargs(_CommonKwargs, total=False):
    """Options of `Model.vary`, `Model.inpaint` and `Model.extend`; the crossfade is in seconds."""

    prompt_b: str | None
    negative_prompt: str | None
    seed: int | None
    crossfade: float
