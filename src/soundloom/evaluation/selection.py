"""Choose the best of several clips: by the output checks, then by how well measurements fit what was asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soundloom.audio.checks import Finding
from soundloom.audio.measure import Measurement

UNSURE = 0.2  # score of a tempo or key that could not be measured: better than a wrong one
TEMPO_SCALE = 0.04  # deviation from the tempo that halves the score
OCTAVE = 0.5  # factor of the score of half and double the tempo
LOUDNESS_SCALE = 2.0  # LU that halve the score
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# Scores of related keys, as in the MIREX evaluation of key detection.
FIFTH, RELATIVE, PARALLEL = 0.5, 0.3, 0.2


@dataclass(frozen=True)
class Asked:
    """What the prompt and the options of a clip ask for; None where they ask for nothing."""

    tempo: float | None = None  # BPM
    key: str | None = None  # such as "A minor"
    seconds: float | None = None  # of sound
    loudness: float | None = None  # LUFS


@dataclass(frozen=True)
class Term:
    """How well one property fits, from 0 to 1; `found` is None where the measurement is unsure."""

    name: str
    asked: float | str
    found: float | str | None
    score: float

    def __str__(self) -> str:
        unit = {"tempo": " BPM", "sound": " s", "loudness": " LUFS"}.get(self.name, "")
        found = "unsure" if self.found is None else _text(self.found)
        return f"{self.name} {found} of {_text(self.asked)}{unit} ({self.score:.2f})"


@dataclass(frozen=True)
class Score:
    """The output checks that a clip failed, and how well it fits what was asked."""

    faults: tuple[Finding, ...]
    terms: tuple[Term, ...]

    @property
    def value(self) -> float:
        """Mean of the terms; 1 where nothing was asked."""
        return sum(term.score for term in self.terms) / len(self.terms) if self.terms else 1.0

    @property
    def rank(self) -> tuple[int, int, float]:
        """What sorts clips, the best first: errors, warnings, value."""
        errors = sum(fault.severity == "error" for fault in self.faults)
        return errors, len(self.faults) - errors, -round(self.value, 6)

    def __str__(self) -> str:
        parts = [fault.message for fault in self.faults] + [str(term) for term in self.terms]
        return f"score {self.value:.2f}" + (f": {'; '.join(parts)}" if parts else "")

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        terms = {
            term.name: {"asked": term.asked, "found": _rounded(term.found), "score": round(term.score, 4)}
            for term in self.terms
        }
        return {
            "score": round(self.value, 4),
            "terms": terms,
            "faults": [fault.message for fault in self.faults],
        }


def score(asked: Asked, measured: Measurement, faults: Sequence[Finding]) -> Score:
    """Score a clip by its measurements, and by the faults that the output checks found."""
    terms = []
    if asked.tempo is not None:
        terms.append(Term("tempo", asked.tempo, _finite(measured.tempo), tempo_score(asked.tempo, measured.tempo)))
    if asked.key is not None:
        terms.append(Term("key", asked.key, measured.key, key_score(asked.key, measured.key)))
    if asked.seconds is not None:
        share = min(1.0, measured.sound_seconds / asked.seconds)
        terms.append(Term("sound", asked.seconds, measured.sound_seconds, share))
    if asked.loudness is not None:
        distance = abs(measured.loudness - asked.loudness)
        loudness = _finite(measured.loudness)
        terms.append(Term("loudness", asked.loudness, loudness, 1 / (1 + distance / LOUDNESS_SCALE)))
    return Score(tuple(faults), tuple(terms))


def tempo_score(asked: float, found: float | None) -> float:
    """Return 1 for the tempo, 0.5 at 4 % from it, and half of that around half and double the tempo."""
    if found is None or not found > 0:
        return UNSURE
    factors = {1.0: 1.0, 2.0: OCTAVE, 0.5: OCTAVE}
    return max(weight / (1 + abs(found / (asked * factor) - 1) / TEMPO_SCALE) for factor, weight in factors.items())


def key_score(asked: str, found: str | None) -> float:
    """Return 1 for the key, less for a fifth above it, the relative and the parallel key, 0 for others."""
    if found is None:
        return UNSURE
    (note, mode), (other, other_mode) = asked.split(), found.split()
    up = (NOTES.index(other) - NOTES.index(note)) % 12
    if mode == other_mode:
        return {0: 1.0, 7: FIFTH}.get(up, 0.0)
    return {(9 if mode == "major" else 3): RELATIVE, 0: PARALLEL}.get(up, 0.0)


def best(scores: Mapping[int, Score], count: int) -> list[int]:
    """Return the keys of the best `count` scores, best first; of equal ones the lowest keys."""
    return sorted(scores, key=lambda index: (scores[index].rank, index))[:count]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _rounded(value: float | str | None) -> float | str | None:
    return round(value, 4) if isinstance(value, float) else value
