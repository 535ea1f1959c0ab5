"""Find where sound begins and ends, and fade audio in and out, block by block."""

from __future__ import annotations

import math

import numpy as np

from soundloom.audio.blocks import Stream
from soundloom.errors import RequestError, shown

SILENCE_THRESHOLD = -60.0  # dB relative to the peak of the clip
SILENCE_MARGIN = 0.01  # seconds that are kept before and after the sound


def require_threshold(threshold: float) -> None:
    """Raise RequestError unless a threshold of silence, in dB relative to the peak, is negative."""
    if not (_is_number(threshold) and -math.inf < threshold < 0):
        raise RequestError(
            f"a threshold of silence must be below 0 dB, the peak of the clip, found {shown(threshold)}",
            f"the default is {SILENCE_THRESHOLD:g}",
        )


def require_duration(name: str, seconds: float) -> None:
    """Raise RequestError unless a duration is finite and at least 0."""
    if not (_is_number(seconds) and 0 <= seconds < math.inf):
        raise RequestError(f"{name} must be 0 seconds or more, found {shown(seconds)}")


def sound_span(stream: Stream, rate: int, threshold: float, margin: float, at_least: float = 0.0) -> tuple[int, int]:
    """Return the first sample to keep when silence is trimmed, and the one after the last.

    Sound is what reaches `threshold` dB relative to the peak. `margin` seconds before and after it are kept, and
    `at_least` seconds in all, as far as there are any. Silent audio is kept whole. Raises RequestError.
    """
    require_threshold(threshold)
    require_duration("the margin", margin)
    require_duration("the shortest length", at_least)
    room, least = (round(min(seconds * rate, stream.samples)) for seconds in (margin, at_least))
    limit = stream.peak() * 10 ** (threshold / 20)
    first, last, position = stream.samples, 0, 0
    for block in stream.blocks() if limit > 0 else ():
        loud = np.flatnonzero(np.abs(block).max(axis=0) >= limit)
        if len(loud):
            first, last = min(first, position + int(loud[0])), position + int(loud[-1]) + 1
        position += block.shape[1]
    if first >= last:
        return 0, stream.samples
    start, stop = max(0, first - room), min(stream.samples, last + room)
    stop = min(stream.samples, max(stop, start + least))
    return max(0, min(start, stop - least)), stop


def fade_lengths(fade_in: float, fade_out: float, samples: int, rate: int) -> tuple[int, int]:
    """Return the lengths of fades in samples. Raises RequestError if together they are longer than the clip."""
    require_duration("fade_in", fade_in)
    require_duration("fade_out", fade_out)
    if (fade_in + fade_out) * rate > samples + 0.5:
        raise RequestError(
            f"fades of {fade_in:g} and {fade_out:g} s are longer than the clip of {samples / rate:g} s", "shorten them"
        )
    first = round(fade_in * rate)
    return first, min(round(fade_out * rate), samples - first)


def faded(block: np.ndarray, start: int, samples: int, fade_in: int, fade_out: int) -> np.ndarray:
    """Return a block (c, n), which starts at sample `start` of `samples`, with raised-cosine fades.

    A sample of the fade of n samples at distance i from the end of the clip is multiplied by
    (1 - cos(pi (i + 0.5) / n)) / 2; others are unchanged.
    """
    from_start = np.arange(start, start + block.shape[1])
    weights = np.ones(block.shape[1], np.float32)
    for distance, length in ((from_start, fade_in), (samples - 1 - from_start, fade_out)):
        inside = distance < length
        if inside.any():
            weights[inside] *= (0.5 - 0.5 * np.cos(np.pi * (distance[inside] + 0.5) / length)).astype(np.float32)
    return np.asarray(block * weights) if (weights != 1).any() else block


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
