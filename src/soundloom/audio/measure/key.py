"""Estimate the key from pitch classes, or nothing where the evidence is weak."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.measure.frames import BINS, LOWEST, NOTES

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MODES = ("major", "minor")
BASS_NOTES = 24  # lowest notes of the histogram, E1 to D#3, whose lowest pitch counts as bass
WIDTH = 0.35  # semitones, standard deviation of the tolerance for a pitch
# Krumhansl and Kessler (1982): how well each pitch class fits a key.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
LEAST, MIN_CLASSES = 0.3, 3  # confidence, and different pitch classes

Floats = NDArray[np.floating]


def tuning(histogram: Floats) -> float:
    """Deviation of the pitches (NOTES * BINS,) from concert pitch in semitones, -0.5 to 0.5."""
    phase = np.exp(2j * np.pi * (np.arange(NOTES * BINS) + 0.5) / BINS)
    return float(np.angle(-(histogram * phase).sum()) / (2 * np.pi))


def note_levels(pitches: Floats) -> Floats:
    """Level (segments, NOTES) of each note, in the tuning of the clip."""
    centers = np.arange(NOTES) + 0.5 + tuning(pitches.sum(axis=0))
    bins = (np.arange(NOTES * BINS) + 0.5) / BINS
    weights = np.exp(-0.5 * ((bins[:, None] - centers) / WIDTH) ** 2)
    return np.asarray(pitches @ np.where(np.abs(bins[:, None] - centers) < 0.5, weights, 0))


def pitch_classes(notes: Floats) -> Floats:
    """Fold levels (…, notes) from LOWEST up into pitch classes (…, 12) from C."""
    first = LOWEST % 12
    padded = np.zeros((*notes.shape[:-1], -(-(first + notes.shape[-1]) // 12) * 12))
    padded[..., first : first + notes.shape[-1]] = notes
    return padded.reshape(*notes.shape[:-1], -1, 12).sum(axis=-2)


def estimate_key(pitches: Floats) -> tuple[str | None, float]:
    """Return the key such as "A minor", or None, and the confidence, of pitch histograms (segments, NOTES * BINS)."""
    if not pitches.any():
        return None, 0.0
    classes = pitch_classes(note_levels(pitches).sum(axis=0))
    share = classes / classes.max()
    scores = [np.corrcoef(np.roll(profile, tonic), classes)[0, 1] for profile in (MAJOR, MINOR) for tonic in range(12)]
    order = np.argsort(scores)
    best = int(order[-1])
    margin = scores[best] - scores[order[-2]]
    confidence = float(np.clip(scores[best] * min(1.0, 6 * margin), 0, 1))
    if (share > 0.3).sum() < MIN_CLASSES or confidence < LEAST:
        return None, confidence
    return f"{NAMES[best % 12]} {MODES[best // 12]}", confidence
