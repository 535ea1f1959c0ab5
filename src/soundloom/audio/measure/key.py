"""Estimate the key from the pitches of all notes, of the bass, and of the beginning and the end.

Every key is described by these pitches relative to its tonic. A small network scores the 24 keys, with the same
weights for all tonics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.measure.frames import BINS, LOWEST, NOTES
from soundloom.audio.measure.scores import probabilities, scores

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MODES = ("major", "minor")
BASS, MIDDLE = 24, 48  # notes of the histogram below which pitches are bass (to D#3) and middle (to D#5)
WIDTH = 0.35  # semitones, standard deviation of the tolerance for a pitch
OVERTONES = (12, 19, 24, 28, 31, 34, 36)  # semitones of the partials 2 to 8 above a note
OVERTONE_LEVEL = 0.7  # of a partial relative to its note, below which it counts as an overtone
AUDIBLE = 0.15  # level of a note relative to the strongest of all
LEAST = 0.6  # probability below which there is no answer

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


def without_overtones(levels: Floats) -> Floats:
    """Levels (segments, NOTES) less what the partials of lower notes explain."""
    expected = np.zeros_like(levels)
    for step in OVERTONES:
        expected[:, step:] = np.maximum(expected[:, step:], OVERTONE_LEVEL * levels[:, :-step])
    return np.maximum(levels - expected, 0)


def lowest_notes(levels: Floats) -> Floats:
    """Keep only the lowest note of each segment that is audible, (segments, NOTES)."""
    audible = levels > AUDIBLE * levels.max(initial=0.0)
    out = np.zeros_like(levels)
    rows = np.flatnonzero(audible.any(axis=1))
    first = audible[rows].argmax(axis=1)
    out[rows, first] = levels[rows, first]
    return out


def pitch_classes(levels: Floats) -> Floats:
    """Sum levels (segments, notes) from LOWEST up by pitch class, (12,) from C; their sum is 1 or 0."""
    total = levels.sum(axis=0)
    classes = np.bincount((LOWEST + np.arange(len(total))) % 12, total, minlength=12)
    return classes / max(classes.sum(), 1e-12)


def key_features(levels: Floats) -> Floats:
    """Features (12, f) for each tonic, from levels of notes (segments, NOTES)."""
    notes = without_overtones(levels)
    equal = notes / np.maximum(notes.sum(axis=1, keepdims=True), 1e-3 * notes.sum(axis=1).max(initial=0.0) + 1e-12)
    quarter = max(1, len(notes) // 4)
    profiles = [
        pitch_classes(levels),
        pitch_classes(notes),
        pitch_classes(equal),
        pitch_classes((notes > AUDIBLE * notes.max(initial=0.0)).astype(float)),
        pitch_classes(notes[:, :BASS]),
        pitch_classes(lowest_notes(notes)),
        pitch_classes(notes[:quarter]),
        pitch_classes(lowest_notes(notes)[:quarter]),
        pitch_classes(notes[-quarter:]),
    ]
    rotated = [np.concatenate([np.roll(profile, -tonic) for profile in profiles]) for tonic in range(12)]
    facts = [len(levels) / 100, (notes > AUDIBLE * notes.max(initial=0.0)).any(axis=0).sum() / 12, *_shape(profiles[1])]
    return np.concatenate([np.array(rotated), np.tile(facts, (12, 1))], axis=1)


def _shape(profile: Floats) -> list[float]:
    """The shares of the six strongest pitch classes, which tell a note, a chord and a scale apart."""
    return np.sort(profile)[::-1][:6].tolist()


def key_probabilities(features: Floats) -> Floats:
    """Probability (24,) of each key, major ones first, of features (12, f)."""
    return probabilities(scores("key", features).T.ravel())


def estimate_key(parts: Sequence[Floats]) -> tuple[str | None, float]:
    """Return the key such as "A minor", or None, and the confidence, of levels of notes (segments, NOTES) of parts."""
    voiced = [levels for levels in parts if levels.any()]
    if not voiced:
        return None, 0.0
    likely = np.sum([key_probabilities(key_features(levels)) for levels in voiced], axis=0) / len(parts)
    best = int(likely.argmax())
    confidence = float(likely[best])
    return (key_name(best) if confidence >= LEAST else None), confidence


def key_name(index: int) -> str:
    """Return the name of a key by its place in `key_probabilities`."""
    return f"{NAMES[index % 12]} {MODES[index // 12]}"
