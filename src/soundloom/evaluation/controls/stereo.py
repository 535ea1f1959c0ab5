"""Measure the stereo image of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from soundloom.errors import RequestError, shown

SIDE_LEVEL = 1.0  # dB by which the side must be louder, and the center may be off
SIDES = ("left", "center", "right")


@dataclass(frozen=True)
class StereoScore:
    """Power of mid over side in dB, correlation of the channels, and level of right minus left in dB.

    Mono and equal channels have a ratio of inf; silence, and a silent channel, have no correlation (NaN).
    """

    mid_side: float
    correlation: float
    balance: float

    @property
    def side(self) -> str:
        """The louder side, or "center"."""
        return "center" if not abs(self.balance) > SIDE_LEVEL else "right" if self.balance > 0 else "left"


def score_stereo(audio: np.ndarray) -> StereoScore:
    """Score a clip (channels, samples) of one or two channels; others are an error (ValueError)."""
    if len(audio) not in (1, 2):
        raise ValueError(f"a stereo image needs one or two channels, found {len(audio)}")
    left, right = (np.asarray(audio[channel], np.float64) for channel in (0, len(audio) - 1))
    mid, side = ((left + sign * right) / 2 for sign in (1, -1))
    product = _correlation(left - left.mean(), right - right.mean()) if left.size else math.nan
    return StereoScore(_decibels(mid, side), product, _decibels(right, left))


def is_on_side(audio: np.ndarray, asked: str) -> bool:
    """Whether the louder side is the one asked for: "left", "center" or "right". Raises RequestError for others."""
    if asked not in SIDES:
        raise RequestError(f"{shown(asked)!r} is no side", f"use {', '.join(SIDES)}")
    return bool(np.any(audio)) and score_stereo(audio).side == asked


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    power = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / power if power > 0 else math.nan


def _decibels(signal: np.ndarray, other: np.ndarray) -> float:
    power, reference = float(signal @ signal), float(other @ other)
    if power == reference:
        return 0.0 if power else math.nan
    return 10 * math.log10(power / reference) if power and reference else math.inf if power else -math.inf
