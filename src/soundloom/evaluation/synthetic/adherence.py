"""Measure prompt adherence: pitch, tempo, side and kind of sound of clips against the labels of their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import HeldOutPrompt, Labels
from soundloom.datasets.synthetic.sounds.space import WIDE_PAN
from soundloom.evaluation.metrics import Metric, share_metrics
from soundloom.evaluation.spectra import level_difference
from soundloom.evaluation.synthetic.classifier import NOTHING, accepted_kinds, classify
from soundloom.evaluation.synthetic.pitch import cents, estimate_pitch, partials_of, spectral_peaks
from soundloom.evaluation.synthetic.tempo import fit_tempo, rhythms_of

PITCH_TOLERANCE = 50.0  # cents
TEMPO_TOLERANCE = 0.04
MIN_BPM, MAX_BPM = 70, 160  # of the loops whose tempo is measured
LOOPS = ("drum loop", "single drum loop")
SIDE_LEVEL = 1.0  # dB by which the side must be louder

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class ClipScores:
    """Measurements of one clip; None where the prompt has no such property, NaN where none was detected."""

    prompt: str
    family: str
    kind: str  # as classified
    is_kind: bool  # whether the kind is correct
    cents: float | None = None  # pitch error
    tempo: float | None = None  # detected over requested
    side: bool | None = None  # whether the requested side is louder

    def record(self) -> dict[str, Any]:
        """Return all fields as JSON values; NaN becomes None."""
        return {name: None if value != value else value for name, value in vars(self).items()}


def score_clip(prompt: HeldOutPrompt, audio: Audio | None, rate: int) -> ClipScores:
    """Measure a clip (2, samples); None stands for a clip that could not be generated."""
    labels = prompt.labels
    kind = NOTHING if audio is None else classify(audio, rate)
    return ClipScores(
        prompt.text,
        labels.family,
        kind,
        kind in accepted_kinds(labels),
        _cents(labels, audio, rate),
        _tempo(labels, audio, rate),
        _side(labels, audio),
    )


def _cents(labels: Labels, audio: Audio | None, rate: int) -> float | None:
    partials = partials_of(labels)
    if partials is None:
        return None
    pitch = None if audio is None else estimate_pitch(spectral_peaks(audio, rate), partials)
    return cents(pitch.hz, labels.hz) if pitch else float("nan")


def _tempo(labels: Labels, audio: Audio | None, rate: int) -> float | None:
    if labels.family not in LOOPS or not MIN_BPM <= labels.bpm <= MAX_BPM:
        return None
    tempo = None if audio is None else fit_tempo(audio, rate, rhythms_of(labels))
    return tempo.bpm / labels.bpm if tempo else float("nan")


def _side(labels: Labels, audio: Audio | None) -> bool | None:
    """Whether the requested side is louder; a moving sound must end further to that side than it started."""
    direction = labels.pan if labels.pan_to is None else labels.pan_to - labels.pan
    if abs(direction) < WIDE_PAN:
        return None
    if audio is None:
        return False
    third = audio.shape[1] // 3
    difference = level_difference(audio)
    if labels.pan_to is not None:
        difference = level_difference(audio[:, -third:]) - level_difference(audio[:, :third])
    return bool(difference * np.sign(direction) > SIDE_LEVEL)


def adherence_metrics(clips: Sequence[ClipScores]) -> list[Metric]:
    """Return shares over all clips, then the share of correct kinds for each family."""
    pitched = [(c, abs(c.cents) <= PITCH_TOLERANCE) for c in clips if c.cents is not None]
    timed = [(c, abs(c.tempo - 1) <= TEMPO_TOLERANCE) for c in clips if c.tempo is not None]
    metrics = [
        *share_metrics("pitch within 50 cents", _by_prompt(pitched), goal=0.80),
        *share_metrics("tempo within 4 %", _by_prompt(timed), goal=0.80),
        *share_metrics("tempo at half or double", _by_prompt([(c, _is_octave(c.tempo)) for c, _ in timed])),
        *share_metrics("kind of sound recognized", _by_prompt([(c, c.is_kind) for c in clips]), goal=0.85),
        *share_metrics("right side", _by_prompt([(c, c.side) for c in clips if c.side is not None]), goal=0.90),
    ]
    for family in dict.fromkeys(c.family for c in clips):
        metrics += share_metrics(f"  {family}", _by_prompt([(c, c.is_kind) for c in clips if c.family == family]))
    return metrics


def _is_octave(ratio: float | None) -> bool:
    return ratio is not None and any(abs(ratio / octave - 1) <= TEMPO_TOLERANCE for octave in (0.5, 2.0))


def _by_prompt(scores: Sequence[tuple[ClipScores, bool | None]]) -> list[float]:
    """Share of correct clips of each prompt: seeds of one prompt are not independent trials."""
    correct: dict[str, list[bool]] = {}
    for clip, is_correct in scores:
        correct.setdefault(clip.prompt, []).append(bool(is_correct))
    return [float(np.mean(of_prompt)) for of_prompt in correct.values()]
