"""Tempo, meter and length in bars."""

from __future__ import annotations

import math
import re

from soundloom.errors import RequestError, shown

DEFAULT_METER = "4/4"
MIN_BPM, MAX_BPM = 10.0, 1000.0
MAX_BARS = 10_000
_METER = re.compile(r"([1-9]\d?)/(1|2|4|8|16|32)")


def beats_per_bar(meter: str) -> int:
    """Return the beats of a bar of a time signature such as "4/4" or "6/8". Raises RequestError."""
    return split_meter(meter)[0]


def split_meter(meter: str) -> tuple[int, int]:
    """Return the beats of a bar, and the note value that has the beat. Raises RequestError."""
    found = _METER.fullmatch(meter) if isinstance(meter, str) else None
    if found is None:
        raise RequestError(f"{shown(meter)!r} is not a time signature", "3/4 has three beats per bar")
    return int(found[1]), int(found[2])


def bar_seconds(bars: float, bpm: float, meter: str) -> float:
    """Return the seconds of a number of bars. The tempo counts beats, which are those of the meter: in 6/8, eighths.

    Raises RequestError.
    """
    if not 0 < bars <= MAX_BARS:
        raise RequestError(f"bars must be a number above 0 and at most {MAX_BARS}, found {bars:g}")
    require_bpm(bpm)
    return bars * beats_per_bar(meter) * 60 / bpm


def require_bpm(bpm: float) -> None:
    """Raise RequestError for a tempo out of range."""
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise RequestError(f"a tempo must be {MIN_BPM:g} to {MAX_BPM:g} BPM, found {bpm:g}")


def whole_beats(seconds: float, bpm: float) -> int | None:
    """Return the number of beats in a length, or None if it is not whole within a hundredth of a beat."""
    beats = seconds * bpm / 60
    return round(beats) if math.isclose(beats, round(beats), abs_tol=0.01) and round(beats) else None
