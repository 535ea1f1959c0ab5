"""Set the level of audio: to a loudness, a true peak, or a sample peak."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from soundloom.audio.blocks import Stream, as_stream
from soundloom.audio.loudness import TRUE_PEAK, gain_to_loudness, true_peak
from soundloom.errors import RequestError, shown

UNITS = {"lufs": "LUFS", "dbtp": "dBTP", "db": "dB"}  # integrated loudness, true peak, sample peak
LOWEST, HIGHEST = -70.0, 0.0  # the absolute gate of BS.1770, and full scale
LEVEL_HINT = "-16lufs is a loudness, -1dbtp a true peak, -3db a sample peak"
_LEVEL = re.compile(r"([+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))\s?(lufs|dbtp|db)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Level:
    """A level such as -16 LUFS, from -70 to 0. Raises RequestError."""

    value: float
    unit: str  # of UNITS

    def __post_init__(self) -> None:
        if not LOWEST <= self.value <= HIGHEST:
            raise RequestError(
                f"a level must be {LOWEST:g} to {HIGHEST:g} {UNITS[self.unit]}, found {self.value:g}", LEVEL_HINT
            )

    @classmethod
    def parse(cls, text: str) -> Level:
        """Parse "-16lufs", "-1dbtp" or "-3db". Raises RequestError."""
        found = _LEVEL.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise RequestError(f"{shown(text)!r} is not a level", LEVEL_HINT)
        return cls(float(found[1]), found[2].lower())

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"


def level_gain(
    audio: np.ndarray | Stream, rate: int, level: Level, limit: float = TRUE_PEAK
) -> tuple[float, list[str]]:
    """Return the gain in dB that brings audio (c, n) to the level, and warnings.

    A loudness is limited by the true peak `limit` in dBTP. Silence has a gain of 0.
    """
    stream = as_stream(audio)
    if level.unit == "lufs":
        gain, limited = gain_to_loudness(stream, rate, level.value, limit)
        if not limited:
            return gain, []
        return gain, [f"{level.value:g} LUFS would exceed {limit:g} dBTP; gain limited to {gain:+.2f} dB"]
    peak = true_peak(stream, rate) if level.unit == "dbtp" else decibels(stream.peak())
    return (level.value - peak if math.isfinite(peak) else 0.0), []


def decibels(magnitude: float) -> float:
    """Return a magnitude relative to full scale in dB; -inf for 0."""
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf
