"""Onset envelopes from band levels, and the times of onsets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.measure.frames import FRAME_RATE

GAIN = 300.0  # of the logarithmic compression: rises above -50 dB of the loudest frame count most
LAG = 2  # frames over which levels rise
GROUPS = (0, 4, 12, 22, 32)  # first mel bands of groups: below 200 Hz, 0.8 kHz, 2.7 kHz, and above
NEAR = 0.03  # seconds on each side within which an onset is the highest
AROUND = 0.06  # seconds on each side of the mean that an onset exceeds
THRESHOLD = 0.06  # smallest onset over that mean, relative to the strongest
BLOCK = 8192  # frames
MIN_RISE = 0.05  # mean rise over bands below which there is no onset at all

Floats = NDArray[np.floating]


def loudest(bands: Floats) -> float:
    """Amplitude of the loudest frame of band amplitudes (frames, bands)."""
    return float(np.sqrt(np.einsum("tb,tb->t", bands, bands).max(initial=0.0)))


def compressed(bands: Floats, reference: float) -> Floats:
    """Logarithmic levels (frames, bands) of amplitudes, relative to that of the loudest frame."""
    return np.log1p(GAIN * bands / max(reference, 1e-12))


def rises(level: Floats) -> Floats:
    """Rise (frames, bands) of compressed levels, against the highest neighboring band LAG frames earlier.

    Comparing with neighbors keeps vibrato from counting as onsets (Böck and Widmer, DAFx 2013).
    """
    padded = np.pad(level, ((LAG, 0), (1, 1)), constant_values=0.0)
    before = np.maximum(np.maximum(padded[:-LAG, :-2], padded[:-LAG, 2:]), padded[:-LAG, 1:-1])
    return np.asarray(np.maximum(level - before, 0), np.float64)


def mean_rises(bands: Floats) -> Floats:
    """Mean rise (frames,) over band amplitudes (frames, bands) of any length, in blocks."""
    reference, found = loudest(bands), [np.zeros(0)]
    for start in range(0, len(bands), BLOCK):
        before = min(start, LAG)
        rise = rises(compressed(bands[start - before : start + BLOCK], reference))
        found.append(rise[before:].mean(axis=1))
    return np.concatenate(found)


def envelopes(rise: Floats) -> Floats:
    """Mean rise (groups + 1, frames) of each group of bands, and of all bands."""
    groups = [rise[:, a:b].mean(axis=1) for a, b in pairwise(GROUPS)]
    return np.stack([*groups, rise.mean(axis=1)])


def onset_times(curve: Floats) -> tuple[float, ...]:
    """Times in seconds of the peaks of a mean rise (frames,)."""
    if curve.max(initial=0.0) < MIN_RISE:
        return ()
    near, around = round(NEAR * FRAME_RATE), round(AROUND * FRAME_RATE)
    padded = np.pad(curve, near, constant_values=-1.0)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1).max(axis=1)
    total = np.cumsum(np.pad(curve, (around + 1, around), mode="edge"))
    mean = (total[2 * around + 1 :] - total[: -2 * around - 1]) / (2 * around + 1)
    found = np.flatnonzero((curve >= highest) & (curve > mean + THRESHOLD * curve.max()))
    keep = np.flatnonzero(np.diff(found, prepend=-10 * near) > near)
    return tuple(np.round(np.maximum(found[keep] - LAG / 2, 0) / FRAME_RATE, 4).tolist())
