"""Options and requests of the calls that run MusicGen, the same for a model and for a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any, TypedDict

from soundloom.audio.clip import ClipOrPath, as_clip
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.options import check_options
from soundloom.pipeline.progress import ProgressCallback
from soundloom.pipeline.requests import spread


class _CommonKwargs(TypedDict, total=False):
    """Options of every call; see `MusicRequest` for those that describe the audio.

    `progress` is called with `Progress` events, `cancel` stops the work between two steps.
    """

    seed: int | Sequence[int | None] | None
    temperature: float
    top_k: int | None
    top_p: float
    guidance: float
    progress: ProgressCallback | None
    cancel: Event | None


class MusicKwargs(_CommonKwargs, total=False):
    """Options of `MusicModel.generate`; `seconds` may be a list, one for each prompt."""

    seconds: float | Sequence[float | None] | None


class MusicEditKwargs(_CommonKwargs, total=False):
    """Options of `MusicModel.edit`; `window` is in seconds."""

    window: float | None
    raw: bool


def music_requests(prompt: str | Sequence[str], options: Mapping[str, Any]) -> list[MusicRequest]:
    """Return the requests of `MusicModel.generate`, one for each prompt. Raises RequestError."""
    check_options("generate", options, MusicKwargs.__annotations__)
    return [MusicRequest(text, **values) for text, values in spread(prompt, options, ("seconds",))]


def edit_requests(clip: ClipOrPath, instruction: str | Sequence[str], options: Mapping[str, Any]) -> list[MusicRequest]:
    """Return the requests of `MusicModel.edit`, one for each instruction. Raises RequestError."""
    check_options("edit", options, MusicEditKwargs.__annotations__)
    source = as_clip(clip)
    return [MusicRequest(text, source=source, **values) for text, values in spread(instruction, options)]
