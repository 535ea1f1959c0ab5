"""Stretch audio in time without changing its pitch, with Signalsmith Stretch, and move its tempo onto a grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.audio.sampler import SamplerFacts
from soundloom.errors import AudioError, RequestError, shown

MAX_STRETCH = 0.03  # largest change of the length; more is audible in drums
MIN_BPM, MAX_BPM = 20.0, 400.0
CONTEXT = 0.25  # seconds of silence around the audio, so that an attack at its start keeps its level


def snap_tempo(clip: Clip, bpm: float) -> Clip:
    """Return the clip stretched by at most 3 %, so that its tempo is `bpm`, or half or twice that.

    Half and double count because their beats are on the same grid. The record gets `snap_tempo`, with the measured
    tempo and the ratio of the lengths; the tempo of a loop is that of its beats. Raises RequestError for a `bpm` out of
    range or where the library is missing, and AudioError if the tempo is unsure or too far away.
    """
    require_bpm(bpm)
    require_stretch()
    facts = SamplerFacts.of(clip.record)
    measured = facts.beats * 60 / clip.seconds if facts.is_loop and facts.beats else clip.measure().tempo
    if measured is None:
        raise AudioError(
            f"the tempo is unsure, so it cannot be snapped to {bpm:g} BPM",
            "clips of two bars or more with clear beats have a measurable tempo",
        )
    near = on_grid(bpm, measured)
    ratio = measured / near
    if abs(ratio - 1) > MAX_STRETCH:
        raise AudioError(
            f"the tempo is {measured:.1f} BPM; {near:g} BPM would change the length by {ratio - 1:+.1%}, and at most "
            f"{MAX_STRETCH:.0%} is possible without audible artifacts",
            "name the tempo in the prompt, or try another seed",
        )
    values = {"bpm": float(bpm), "measured": round(measured, 2), "stretch": round(ratio, 5)}
    return stretch(clip, ratio).with_record({**clip.record, "snap_tempo": values})


def on_grid(bpm: float, tempo: float) -> float:
    """Return the octave of `bpm` (twice, half …) that is nearest to `tempo`."""
    return bpm * 2.0 ** round(math.log2(tempo / bpm))


def stretch(clip: Clip, ratio: float) -> Clip:
    """Return the clip in memory with `round(samples * ratio)` samples, at the same pitch.

    Raises RequestError for a ratio that is not within 3 % of 1, or where the library is missing.
    """
    if not abs(ratio - 1) <= MAX_STRETCH + 1e-9:
        raise RequestError(f"a stretch must be within 3 % of 1, found {shown(ratio)}")
    library = require_stretch()
    length = round(clip.samples * ratio)
    audio = clip.read(0, clip.samples)
    if length != clip.samples:
        audio = _stretched(library, audio, clip.sample_rate, ratio, length)
    return Clip(audio, clip.sample_rate, clip.record, clip.source_format, clip.name)


def _stretched(library: Any, audio: np.ndarray, rate: int, ratio: float, length: int) -> np.ndarray:
    before = round(CONTEXT * rate)
    padded = np.pad(audio, ((0, 0), (before, before)))
    processor = library.Signalsmith.Stretch()
    processor.preset(audio.shape[0], rate)
    processor.setTimeFactor(padded.shape[1] / round(padded.shape[1] * ratio))
    out = processor.process(np.ascontiguousarray(padded, np.float32))
    first = round(before * ratio)
    out = out[:, first : first + length]
    return np.pad(out, ((0, 0), (0, length - out.shape[1])))


def require_bpm(bpm: float, name: str = "a tempo") -> None:
    """Raise RequestError for a tempo that is not a number from 20 to 400; `name` is its name in the message."""
    is_number = isinstance(bpm, int | float | np.number) and not isinstance(bpm, bool)
    if not is_number or not MIN_BPM <= bpm <= MAX_BPM:
        raise RequestError(f"{name} must be a number from {MIN_BPM:g} to {MAX_BPM:g} BPM, found {shown(bpm)}")


def require_stretch() -> Any:
    """Import and return the library. Raises RequestError where it is not installed."""
    try:
        import python_stretch
    except ImportError as error:
        raise RequestError(
            "stretching needs the package python-stretch, which is not installed", "pip install 'soundloom[stretch]'"
        ) from error
    return python_stretch
