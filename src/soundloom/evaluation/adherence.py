"""Whether clips are what their prompts ask for: pitch, tempo, side and kind of sound, judged against labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import HeldOutPrompt, Labels
from soundloom.datasets.synthetic.sounds.space import WIDE_PAN
from soundloom.evaluation.classifier import NOTHING, accepted_kinds, classify
from soundloom.evaluation.pitch import cents, estimate_pitch, partials_of, spectral_peaks
from soundloom.evaluation.report import Metric, share_metric
from soundloom.evaluation.spectra import level_difference
from soundloom.evaluation.tempo import estimate_tempo, rhythms_of

PITCH_TOLERANCE = 50.0  # cents
TEMPO_TOLERANCE = 0.04
SLOWEST, FASTEST = 70, 160  # BPM of the loops that are judged
LOOPS = ("drum loop", "single drum loop")
SIDE_LEVEL = 1.0  # dB by which a side must be louder

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class ClipScores:
    """What was found in a clip; None where its prompt does not ask for it, or NaN where nothing was found."""

    prompt: str
    family: str
    heard: str
    is_kind: bool
    cents: float | None = None  # off the pitch
    tempo: float | None = None  # found over asked for
    side: bool | None = None

    def record(self) -> dict[str, Any]:
        """Everything as values that JSON can hold, where nothing that was found is no number."""
        return {name: None if value != value else value for name, value in vars(self).items()}


def score_clip(prompt: HeldOutPrompt, audio: Audio | None, rate: int) -> ClipScores:
    """Listen to a clip (2, samples); None is a clip that could not be made."""
    labels = prompt.labels
    heard = NOTHING if audio is None else classify(audio, rate)
    return ClipScores(
        prompt.text,
        labels.family,
        heard,
        heard in accepted_kinds(labels),
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
    if labels.family not in LOOPS or not SLOWEST <= labels.bpm <= FASTEST:
        return None
    tempo = None if audio is None else estimate_tempo(audio, rate, rhythms_of(labels))
    return tempo.bpm / labels.bpm if tempo else float("nan")


def _side(labels: Labels, audio: Audio | None) -> bool | None:
    """Whether the asked side is louder; a moving sound must end further over than it began."""
    way = labels.pan if labels.pan_to is None else labels.pan_to - labels.pan
    if abs(way) < WIDE_PAN:
        return None
    if audio is None:
        return False
    third = audio.shape[1] // 3
    found = level_difference(audio)
    if labels.pan_to is not None:
        found = level_difference(audio[:, -third:]) - level_difference(audio[:, :third])
    return bool(found * np.sign(way) > SIDE_LEVEL)


def adherence_metrics(verdicts: Sequence[ClipScores]) -> list[Metric]:
    """Shares over all clips, then the kinds family by family."""
    pitched = [(v, abs(v.cents) <= PITCH_TOLERANCE) for v in verdicts if v.cents is not None]
    timed = [(v, abs(v.tempo - 1) <= TEMPO_TOLERANCE) for v in verdicts if v.tempo is not None]
    found = [
        share_metric("pitch within 50 cents", _by_prompt(pitched), goal=0.80),
        share_metric("tempo within 4 %", _by_prompt(timed), goal=0.80),
        share_metric("tempo at half or double", _by_prompt([(v, _is_octave(v.tempo)) for v, _ in timed])),
        share_metric("kind of sound recognized", _by_prompt([(v, v.is_kind) for v in verdicts]), goal=0.85),
        share_metric("right side", _by_prompt([(v, v.side) for v in verdicts if v.side is not None]), goal=0.90),
    ]
    for family in dict.fromkeys(v.family for v in verdicts):
        found.append(share_metric(f"  {family}", _by_prompt([(v, v.is_kind) for v in verdicts if v.family == family])))
    return [row for row in found if row is not None]


def _is_octave(ratio: float | None) -> bool:
    return ratio is not None and any(abs(ratio / octave - 1) <= TEMPO_TOLERANCE for octave in (0.5, 2.0))


def _by_prompt(judged: Sequence[tuple[ClipScores, bool | None]]) -> list[float]:
    """Share of right clips of each prompt: seeds of one prompt are no independent trials."""
    right: dict[str, list[bool]] = {}
    for verdict, is_right in judged:
        right.setdefault(verdict.prompt, []).append(bool(is_right))
    return [float(np.mean(of_prompt)) for of_prompt in right.values()]
