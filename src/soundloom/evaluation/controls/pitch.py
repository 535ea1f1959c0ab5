"""Compare the pitch of a note with the one that was asked for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from soundloom.errors import RequestError, shown
from soundloom.evaluation.selection import NOTES

TOLERANCE = 50.0  # cents
NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
CONCERT_A = 440.0  # Hz


@dataclass(frozen=True)
class PitchScore:
    """`cents` is the deviation, NaN without a pitch; `octaves` is how many octaves nearer the note would be."""

    cents: float
    octaves: int = 0

    @property
    def is_right(self) -> bool:
        return abs(self.cents) <= TOLERANCE

    @property
    def is_octave(self) -> bool:
        """Whether the note is right but for its octave."""
        return self.octaves != 0 and abs(self.cents - 1200 * self.octaves) <= TOLERANCE


def score_pitch(asked: float, found: float | None) -> PitchScore:
    """Score a pitch in Hz; None, 0 and NaN mean that none was found."""
    if found is None or not found > 0:
        return PitchScore(math.nan)
    cents = 1200 * math.log2(found / asked)
    return PitchScore(cents, round(cents / 1200))


def pitch_hz(text: str) -> float:
    """Return the frequency of "A4" (440 Hz), "F#3", "Bb2" or "440" (Hz). Raises RequestError for other text."""
    match = NOTE.fullmatch(text.strip())
    if match is None:
        return _hertz(text)
    note, accidental, octave = match.groups()
    semitones = NOTES.index(note.upper()) - 9 + {"#": 1, "b": -1, "": 0}[accidental] + 12 * (int(octave) - 4)
    return float(CONCERT_A * 2 ** (semitones / 12))


def _hertz(text: str) -> float:
    try:
        hertz = float(text.removesuffix("Hz"))
    except ValueError:
        hertz = math.nan
    if not 0 < hertz < math.inf:
        raise RequestError(f"{shown(text)!r} is no pitch", "write it like A4, F#3 or 440")
    return hertz
