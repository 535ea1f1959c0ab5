"""Compare the length of a clip, and of the sound in it, with what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAME_SECONDS = 0.01
AUDIBLE = 10 ** (-60 / 20)  # peak of a frame relative to that of the clip


@dataclass(frozen=True)
class DurationScore:
    """`missing` is samples asked for minus samples delivered, `content` the seconds until the last audible frame.

    `trailing_silence` is the share of the clip after it.
    """

    missing: int
    content: float
    trailing_silence: float

    @property
    def is_exact(self) -> bool:
        return self.missing == 0


def score_duration(audio: np.ndarray, rate: int, seconds: float) -> DurationScore:
    """Score a clip (channels, samples) that was asked for with a length in seconds."""
    content = content_seconds(audio, rate)
    samples = audio.shape[1]
    silence = 1 - content * rate / samples if samples else 1.0
    return DurationScore(round(seconds * rate) - samples, content, max(0.0, silence))


def content_seconds(audio: np.ndarray, rate: int) -> float:
    """Return the end of the last frame of 10 ms whose peak is within 60 dB of that of the clip (channels, samples).

    0 for silence.
    """
    magnitude = np.abs(audio).max(axis=0, initial=0.0)
    loud = np.flatnonzero(magnitude > AUDIBLE * magnitude.max(initial=0.0))
    if not len(loud):
        return 0.0
    size = max(1, round(FRAME_SECONDS * rate))
    return min((int(loud[-1]) // size + 1) * size, len(magnitude)) / rate
