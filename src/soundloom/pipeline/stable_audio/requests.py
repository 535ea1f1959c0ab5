"""Build the requests of the calls that generate and edit, the same for a model and for a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from soundloom.audio.clip import Clip, ClipOrPath, as_clip
from soundloom.config.options import check_options
from soundloom.config.stable_audio.request import GenerationRequest, Region, require_text
from soundloom.errors import RequestError
from soundloom.pipeline.provenance import recorded_settings
from soundloom.pipeline.requests import build_request, spread
from soundloom.pipeline.stable_audio.options import EditKwargs, GenerateKwargs
from soundloom.pipeline.stable_audio.plan import require_addition
from soundloom.pipeline.stable_audio.tempo import first_bars, known_tempo

Options = Mapping[str, Any]  # GenerateKwargs or EditKwargs, which are checked here


class Rhythm(TypedDict):
    """How a loop is cut: see `Model.loop`."""

    bars: float | None
    bpm: float | None
    meter: str
    seam: float


def generate_requests(prompt: str | Sequence[str], options: Options) -> list[GenerationRequest]:
    """Return the requests of `Model.generate`, one for each prompt. Raises RequestError."""
    check_options("generate", options, GenerateKwargs.__annotations__)
    rows = spread(prompt, options, ("prompt_b", "negative_prompt", "seconds"))
    if any(values.get("prompt_b") is not None for _, values in rows):
        for _, values in rows:
            if values.get("prompt_b") is None:
                values.pop("mix", None)
    return [build_request(*row) for row in rows]


def vary_request(
    clip: ClipOrPath, prompt: str | None, model: str, options: Options, *, noise: float, regions: Sequence[Region]
) -> GenerationRequest:
    """Return the request of `Model.vary`; `model` is the name of the one that will run it. Raises RequestError."""
    check_options("vary", options, (*EditKwargs.__annotations__, "noise", "regions"))
    return _edit_request(as_clip(clip), prompt, model, options, noise=noise, regions=tuple(regions))


def inpaint_request(
    clip: ClipOrPath, regions: Sequence[Region], prompt: str | None, model: str, options: Options
) -> GenerationRequest:
    """Return the request of `Model.inpaint`. Raises RequestError."""
    if not regions:
        raise RequestError("inpainting needs at least one region", "regions=[(1.0, 1.5)] regenerates half a second")
    check_options("inpaint", options, EditKwargs.__annotations__)
    return _edit_request(as_clip(clip), prompt, model, options, regions=tuple(regions))


def extend_request(
    clip: ClipOrPath, seconds: float, prompt: str | None, model: str, options: Options, *, before: bool
) -> GenerationRequest:
    """Return the request of `Model.extend`. Raises RequestError."""
    check_options("extend", options, (*EditKwargs.__annotations__, "before"))
    clip = as_clip(clip)
    require_addition(clip, seconds)
    if before:
        return _edit_request(clip, prompt, model, options, offset=seconds)
    return _edit_request(clip, prompt, model, options, seconds=clip.seconds + seconds)


def loop_request(
    clip: ClipOrPath,
    prompt: str | None,
    model: str,
    options: Options,
    *,
    bars: float | None,
    bpm: float | None,
    meter: str,
    seam: float,
) -> GenerationRequest:
    """Return the request of `Model.loop`, whose source is cut to `bars`. Raises RequestError."""
    check_options("loop", options, (*EditKwargs.__annotations__, *Rhythm.__annotations__))
    clip = as_clip(clip)
    bpm = known_tempo(bpm, prompt or "", record=clip.record)
    cut = first_bars(clip, bars, bpm, meter)
    return _edit_request(cut, prompt, model, options, loop=True, seam=seam, bars=bars, bpm=bpm, meter=meter)


def _edit_request(clip: Clip, prompt: str | None, model: str, options: Options, **edit: Any) -> GenerationRequest:
    if prompt is not None:
        require_text("a prompt", prompt)
    settings = {"prompt": prompt} if prompt is not None else recorded_settings(clip, model)
    if "prompt_b" in options and "mix" not in options:
        settings.pop("mix", None)
    ((text, values),) = spread(settings.pop("prompt"), {**settings, **options, **edit, "source": clip})
    return build_request(text, values)
