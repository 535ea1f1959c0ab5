"""Estimate the tempo from the autocorrelation of onset envelopes, or nothing where the evidence is weak."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.measure.frames import FRAME_RATE

MIN_BPM, MAX_BPM, SPACING = 50.0, 210.0, 1.01  # of candidates, and the ratio of neighbors
SMOOTHING = 0.02  # seconds, standard deviation of the tolerance for an onset
TREND = 0.4  # seconds; slower changes are no rhythm
MULTIPLES = 8  # beats over which the tempo is refined
PRIOR_BPM, PRIOR_OCTAVES = 115.0, 0.7  # mean and deviation of tempos
LEAST = 0.35  # periodicity

Floats = NDArray[np.floating]


def candidates() -> Floats:
    """Tempos to choose from, in BPM."""
    return MIN_BPM * SPACING ** np.arange(int(np.log(MAX_BPM / MIN_BPM) / np.log(SPACING)) + 1)


def autocorrelation(rows: Floats) -> Floats:
    """Autocorrelation (rows, frames) of smoothed rows without their trend, 1 at lag 0, each lag over its overlap."""
    frames = rows.shape[1]
    rows = _blurred(rows, SMOOTHING) - _blurred(rows, TREND)
    size = 1 << (2 * frames).bit_length()
    spectra = np.abs(np.fft.rfft(rows, size)) ** 2
    products = np.fft.irfft(spectra, size)[:, :frames]
    overlap = 1 - np.arange(frames) / frames
    return np.asarray(products / np.maximum(products[:, :1], 1e-12) / np.maximum(overlap, 0.15))


def estimate_tempo(envelopes: Floats) -> tuple[float | None, float]:
    """Return the tempo in BPM, or None, and the confidence from 0 to 1, of envelopes (groups, frames)."""
    if envelopes.shape[1] < FRAME_RATE or not envelopes.any():
        return None, 0.0
    curve = autocorrelation(envelopes).mean(axis=0)
    bpm = candidates()
    lags = 60 / bpm * FRAME_RATE
    at = [np.interp(lags * k, np.arange(len(curve)), curve, right=0.0) for k in (0.5, 1, 2, 4)]
    prior = np.exp(-0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
    scores = np.maximum(0.5 * at[0] + at[1] + at[2] + 0.5 * at[3], 0) / 3 * prior
    best = int(scores.argmax())
    apart = np.abs(np.log2(bpm / bpm[best])) > 0.06
    margin = 1 - scores[apart].max() / max(scores[best], 1e-12)
    confidence = float(np.clip(scores[best] * 2 * min(1.0, 3 * margin), 0, 1))
    return (refined(curve, bpm[best]) if confidence > LEAST else None), confidence


def refined(curve: Floats, bpm: float) -> float:
    """Refine a tempo within 3 % by the autocorrelation at whole beats."""
    near = bpm * np.linspace(0.97, 1.03, 241)
    beats = np.arange(1, MULTIPLES + 1)
    lags = 60 / near[:, None] * FRAME_RATE * beats
    values = np.interp(lags, np.arange(len(curve)), curve)
    weight = np.where(lags < 0.8 * len(curve), beats, 0)
    score = (values * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    return float(near[score.argmax()])


def _blurred(rows: Floats, seconds: float) -> Floats:
    """Blur along the last axis with a Gaussian of this standard deviation."""
    width = seconds * FRAME_RATE
    reach = min(int(np.ceil(3 * width)), rows.shape[1])
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="edge")
    return np.stack([np.convolve(row, kernel / kernel.sum(), "valid") for row in padded])
