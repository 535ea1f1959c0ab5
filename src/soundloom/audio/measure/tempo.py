"""Estimate the tempo from the correlations of onset envelopes at the multiples of each candidate's beat.

Every candidate is described by how onsets of each band repeat after a quarter of its beat to eight beats, and by how
usual it is. A small network scores the candidates, so that half, double and two thirds of the tempo compete with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.measure.frames import FRAME_RATE
from soundloom.audio.measure.onsets import GROUPS
from soundloom.audio.measure.scores import probabilities, scores

MIN_BPM, MAX_BPM, SPACING = 50.0, 210.0, 1.01  # of candidates, and the ratio of neighbors
RATIOS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 3, 4, 6, 8, 12, 16)  # lags in beats
PAIRS = ((0, 2), (0, 3))  # groups of bands whose onsets are also compared with each other
SMOOTHING = 0.02  # seconds, standard deviation of the tolerance for an onset
TREND = 0.4  # seconds; slower changes are no rhythm
TOLERANCE = 0.04  # candidates this near are the same answer
USUAL_BPM = 115.0
MIN_OVERLAP = 0.1  # share of the clip that overlaps at the longest lag
MIN_SECONDS = 1.0
LEAST = 0.7  # probability below which there is no answer
MULTIPLES = 16  # beats over which the tempo is refined

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class AnalyzedPart:
    """Onset envelopes (groups + 1, frames), compressed levels (frames, bands), notes (segments, n) and onset times."""

    envelopes: Floats
    levels: Floats
    notes: Floats
    onsets: tuple[float, ...]


def candidates() -> Floats:
    """Tempos to choose from, in BPM."""
    return MIN_BPM * SPACING ** np.arange(int(np.log(MAX_BPM / MIN_BPM) / np.log(SPACING)) + 1)


def correlations(envelopes: Floats) -> Floats:
    """Correlations (groups + pairs, frames) of envelopes (groups, frames) with themselves and each other by lag.

    Each lag is divided by its overlap, and lag 0 of an envelope with itself is 1.
    """
    groups, frames = envelopes.shape
    rows = _blurred(envelopes, SMOOTHING) - _blurred(envelopes, TREND)
    spectra = np.fft.rfft(rows, 1 << (2 * frames).bit_length())
    energy = np.sqrt((rows**2).sum(axis=1)) + 1e-9
    pairs = [*((i, i) for i in range(groups)), *PAIRS]
    products = np.array([(spectra[i] * np.conj(spectra[j])).real / (energy[i] * energy[j]) for i, j in pairs])
    found = np.fft.irfft(products)[:, :frames]
    return np.asarray(found / np.maximum(1 - np.arange(frames) / frames, MIN_OVERLAP))


def repetition(rows: Floats) -> Floats:
    """Similarity (frames,) of rows (n, frames) with themselves by lag: of what sounds, not of when it starts."""
    frames = rows.shape[1]
    if frames < 2:
        return np.zeros(max(frames, 1))
    centered = rows - rows.mean(axis=1, keepdims=True)
    power = (np.abs(np.fft.rfft(centered, 1 << (2 * frames).bit_length())) ** 2).sum(axis=0)
    found = np.fft.irfft(power)[:frames] / ((centered**2).sum() + 1e-9)
    return np.asarray(found / np.maximum(1 - np.arange(frames) / frames, MIN_OVERLAP))


def tempo_features(part: AnalyzedPart) -> Floats:
    """Features (candidates, f) of a part."""
    frames = part.envelopes.shape[1]
    notes = part.notes.T
    stretch = notes.shape[1] / frames  # notes have fewer frames
    bpm = candidates()
    beat = 60 / bpm * FRAME_RATE
    lags = beat[:, None] * RATIOS
    curves = [(row, 1.0) for row in correlations(part.envelopes)]
    curves += [(repetition(part.levels.T), 1.0), (repetition(notes), stretch)]
    values = np.stack([np.interp(lags * scale, np.arange(len(row)), row) for row, scale in curves], axis=2)
    values = np.where((lags < (1 - MIN_OVERLAP) * frames)[:, :, None], values, 0.0).reshape(len(bpm), -1)
    octaves = np.log2(bpm / USUAL_BPM)
    per_beat = np.log2((len(part.onsets) + 0.5) * beat / frames)
    facts = [octaves, octaves**2, np.log2(frames / beat), per_beat, *np.tile(_timbre(part)[:, None], len(bpm))]
    return np.concatenate([values, np.stack(facts, axis=1)], axis=1)


def _timbre(part: AnalyzedPart) -> Floats:
    """Facts about the kind of sound, which help to choose between a tempo and its double."""
    rises = part.envelopes.mean(axis=1)
    bands = part.levels.mean(axis=0)
    groups = np.add.reduceat(bands, GROUPS[:-1])
    level = part.levels.mean(axis=1)
    audible = part.notes > 0.2 * part.notes.max(initial=1e-9)
    seconds = len(level) / FRAME_RATE
    return np.array(
        [
            *(rises / max(rises[-1], 1e-9)),
            *(groups / max(groups.sum(), 1e-9)),
            np.log2((len(part.onsets) + 0.5) / seconds),
            level.mean() / max(level.max(), 1e-9),
            audible.sum(axis=1).mean() / 8,
            audible[:, :24].any(axis=1).mean(),
            audible[:, 24:].any(axis=1).mean(),
            np.log2(seconds),
        ]
    )


def has_rhythm(part: AnalyzedPart) -> bool:
    """Whether a part is long enough for a tempo, and has more than one onset."""
    return part.envelopes.shape[1] >= MIN_SECONDS * FRAME_RATE and len(part.onsets) >= 2


def tempo_probabilities(features: Floats) -> Floats:
    """Probability (candidates,) that the tempo is near each candidate, of features (candidates, f)."""
    bpm = candidates()
    near = np.abs(np.log(bpm[:, None] / bpm)) < np.log(1 + TOLERANCE)
    return np.minimum(near @ probabilities(scores("tempo", features)[:, 0]), 1.0)


def estimate_tempo(parts: Sequence[AnalyzedPart]) -> tuple[float | None, float]:
    """Return the tempo in BPM, or None, and the confidence from 0 to 1, of parts of a clip with the same length."""
    timed = [part for part in parts if has_rhythm(part)]
    if not timed:
        return None, 0.0
    likely = np.sum([tempo_probabilities(tempo_features(part)) for part in timed], axis=0) / len(parts)
    best = int(likely.argmax())
    confidence = float(likely[best])
    if confidence < LEAST:
        return None, confidence
    curves = [correlations(part.envelopes)[len(GROUPS) - 1] for part in timed]
    curve = np.mean([curve[: min(map(len, curves))] for curve in curves], axis=0)  # the last part may be shorter
    return refined(curve, float(candidates()[best])), confidence


def refined(curve: Floats, bpm: float) -> float:
    """Refine a tempo within 4 % by the correlation (frames,) at whole beats, where later ones count more."""
    near = bpm * np.linspace(0.96, 1.04, 321)
    beats = np.arange(1, MULTIPLES + 1)
    lags = 60 / near[:, None] * FRAME_RATE * beats
    values = np.interp(lags, np.arange(len(curve)), curve)
    weight = np.where(lags < 0.8 * len(curve), beats, 0)
    score = (values * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    return float(near[score.argmax()])


def _blurred(rows: Floats, seconds: float) -> Floats:
    """Blur along the last axis with a Gaussian of this standard deviation."""
    width = seconds * FRAME_RATE
    reach = int(np.ceil(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="edge")
    return np.stack([np.convolve(row, kernel / kernel.sum(), "valid") for row in padded])
