"""Compare the loudness and the true peak of a clip with a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundloom.audio.loudness import TRUE_PEAK, integrated_loudness, loudness_range, true_peak

TOLERANCE = 0.5  # LU
PEAK_TOLERANCE = 0.05  # dB: peaks between samples depend on the interpolation filter


@dataclass(frozen=True)
class LoudnessScore:
    """`error` is the loudness minus the target in LU, -inf for silence; `true_peak` in dBTP; `range` in LU.

    `range` is NaN for clips under 3 s.
    """

    error: float
    true_peak: float
    range: float

    @property
    def is_peak_safe(self) -> bool:
        """Whether the true peak is at most -1 dBTP."""
        return self.true_peak <= TRUE_PEAK + PEAK_TOLERANCE

    @property
    def is_right(self) -> bool:
        """Whether the loudness is within 0.5 LU of the target, and the true peak at most -1 dBTP."""
        return abs(self.error) <= TOLERANCE and self.is_peak_safe


def score_loudness(audio: np.ndarray, rate: int, target: float) -> LoudnessScore:
    """Score a clip (channels, samples) against a target in LUFS."""
    loudness = integrated_loudness(audio, rate)
    return LoudnessScore(loudness - target, true_peak(audio, rate), loudness_range(audio, rate))
