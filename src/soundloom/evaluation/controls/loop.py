"""Measure a clip that is meant to loop: the joint at its wrap, and whether its beat goes on there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from soundloom.audio.measure import measure
from soundloom.evaluation.edits.seams import measure_wrap

MAX_RANK = 0.999  # of the step at an inaudible wrap
ONSET_TOLERANCE = 0.010  # seconds
STEPS_PER_BEAT = 4  # of the grid: sixteenths
NEAR = 0.03  # seconds around an onset in which its rise is located
BLOCK = 0.001  # seconds


@dataclass(frozen=True)
class LoopScore:
    """`rank` and `flux` are those of `measure_wrap`; `onset` is the distance in seconds of an onset from the grid.

    NaN stands for what could not be measured, such as the onset of a sound without any near the wrap.
    """

    rank: float
    flux: float
    onset: float

    @property
    def is_seamless(self) -> bool:
        return self.rank <= MAX_RANK

    @property
    def is_on_grid(self) -> bool:
        return abs(self.onset) <= ONSET_TOLERANCE


def score_loop(audio: np.ndarray, rate: int, bpm: float) -> LoopScore:
    """Score a loop (channels, samples) at a tempo."""
    wrap = measure_wrap(audio, rate)
    return LoopScore(wrap.rank, wrap.flux, wrap_onset(audio, rate, bpm))


def wrap_onset(audio: np.ndarray, rate: int, bpm: float) -> float:
    """Return the distance in seconds of the onset nearest to the wrap from the nearest sixteenth of the grid.

    The grid starts with the first pass of the loop and goes on in the second, so that a loop whose length is not a
    multiple of it is early or late there. NaN without an onset within half a beat of the wrap.
    """
    half = audio.shape[1] // 2
    rotated = np.roll(audio, half, axis=1)
    wrap = half / rate  # where the first sample comes to lie
    beat = 60 / bpm
    onsets = [onset for onset in measure(rotated, rate).onsets if abs(onset - wrap) <= beat / 2]
    if not onsets:
        return math.nan
    nearest = min(onsets, key=lambda onset: abs(onset - wrap))
    time = audio.shape[1] / rate + locate_rise(rotated, rate, nearest) - wrap
    step = beat / STEPS_PER_BEAT
    return time - step * round(time / step)


def locate_rise(audio: np.ndarray, rate: int, onset: float) -> float:
    """Return the time of the largest rise of the level within 30 ms of an onset, in steps of a millisecond.

    Levels are compressed by a logarithm whose floor is 40 dB below the loudest of these steps.
    """
    size = max(1, round(BLOCK * rate))
    first = max(0, round((onset - NEAR) * rate))
    part = audio[:, first : round((onset + NEAR) * rate)]
    count = part.shape[1] // size
    if count < 2:
        return onset
    power = (part[:, : count * size].astype(np.float64) ** 2).mean(axis=0).reshape(count, size).mean(axis=1)
    level = np.log(power + 1e-4 * power.max() + np.finfo(float).tiny)
    return (first + (int(np.diff(level).argmax()) + 1) * size) / rate
