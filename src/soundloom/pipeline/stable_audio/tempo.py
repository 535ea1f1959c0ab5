"""Tell the model the tempo of a request."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.records import recorded_prompt
from soundloom.audio.sampler import SamplerFacts
from soundloom.config.prompt_facts import prompt_bpm
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.config.stable_audio.rhythm import DEFAULT_METER, bar_seconds
from soundloom.errors import RequestError, shown

SAME_BPM = 0.05


def with_tempo(request: GenerationRequest) -> tuple[GenerationRequest, tuple[str, ...]]:
    """Return a request whose prompt names its tempo, and notes about that.

    Models know a tempo from the prompt alone.
    """
    bpm = request.bpm
    if bpm is None:
        return request, ()
    prompts = {"prompt": request.prompt, "prompt_b": request.prompt_b}
    named = {text: prompt_bpm(text) for text in prompts.values() if text}
    added = {name: f"{text}, {bpm:g} BPM" for name, text in prompts.items() if text and named[text] is None}
    notes = [f"the tempo was added to the prompt: {shown(text)}" for text in added.values()]
    notes += [
        f"the prompt names {other:g} BPM and {bpm:g} BPM was requested: the length follows {bpm:g}, the sound may "
        f"follow {other:g}"
        for other in named.values()
        if other is not None and abs(other - bpm) > SAME_BPM
    ]
    changes: dict[str, Any] = dict(added)
    return replace(request, **changes), tuple(notes)


def known_tempo(given: float | None, *prompts: str, record: Mapping[str, Any]) -> float | None:
    """Return the given tempo, else the one that a prompt or the record of a clip names."""
    if given is not None:
        return given
    named = (*map(prompt_bpm, prompts), SamplerFacts.of(record).bpm, prompt_bpm(recorded_prompt(record)))
    return next((bpm for bpm in named if bpm is not None), None)


def recorded_bars(clip: Clip, bpm: float | None) -> tuple[float | None, str]:
    """Return the bars and the meter that the record of a loop states, if the clip has that length at `bpm`."""
    loop = clip.record.get("loop")
    bars, meter = (loop.get("bars"), loop.get("meter")) if isinstance(loop, Mapping) else (None, None)
    with suppress(RequestError, TypeError):
        if bars and bpm and round(bar_seconds(bars, bpm, str(meter)) * clip.sample_rate) == clip.samples:
            return float(bars), str(meter)
    return None, DEFAULT_METER


def first_bars(clip: Clip, bars: float | None, bpm: float | None, meter: str) -> Clip:
    """Return the first bars of a clip, or all of it if no number of bars is given.

    Raises RequestError for a clip that is too short.
    """
    if bars is None:
        return clip
    if bpm is None:
        raise RequestError("a length in bars needs a tempo", "give bpm=120 (--bpm 120)")
    seconds = bar_seconds(bars, bpm, meter)
    samples = round(seconds * clip.sample_rate)
    if samples > clip.samples:
        raise RequestError(
            f"the clip is {clip.seconds:.4g} s long, and {bars:g} bars of {meter} at {bpm:g} BPM last {seconds:.4g} s",
            "ask for fewer bars, or extend the clip first",
        )
    return clip.cut(0, samples)
