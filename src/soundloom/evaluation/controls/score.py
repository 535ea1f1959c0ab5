"""Score one clip against what its prompt asked for."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.clip import Clip
from soundloom.audio.measure import measure
from soundloom.evaluation.controls.ceiling import reference_labels
from soundloom.evaluation.controls.duration import score_duration
from soundloom.evaluation.controls.key import key_points
from soundloom.evaluation.controls.loop import score_loop
from soundloom.evaluation.controls.loudness import score_loudness
from soundloom.evaluation.controls.pitch import pitch_hz, score_pitch
from soundloom.evaluation.controls.prompts import Control, ControlPrompt
from soundloom.evaluation.controls.stereo import is_on_side, score_stereo
from soundloom.evaluation.controls.tags import TOP, score_tag, vocal_share
from soundloom.evaluation.controls.tempo import score_tempo
from soundloom.evaluation.synthetic.pitch import estimate_pitch, partials_of, spectral_peaks

MIN_MATCH = 0.55  # of peaks with a timbre; noise has up to 0.48
MAX_TRAILING_SILENCE = 0.1  # share of a clip of steady sound

Logits = NDArray[np.floating]
# What each control is scored by: the first is counted as a hit.
ROWS: dict[Control, tuple[str, ...]] = {
    "tempo": ("tempo_accuracy1",),
    "key": ("key_exact",),
    "pitch": ("pitch_within_50_cents",),
    "duration": ("duration_exact", "content_lasts"),
    "loudness": ("loudness_on_target",),
    "side": ("side",),
    "loop": ("loop_seamless", "loop_on_grid"),
    "instrument": (f"instrument_top{TOP}",),
    "instrumental": ("instrumental",),
}


# Rows whose estimator can find nothing, and rows with octave errors, with the names of these shares.
UNSURE = {
    "tempo_accuracy1": "tempo_unsure",
    "key_exact": "key_unsure",
    "pitch_within_50_cents": "pitch_unsure",
    "loop_on_grid": "loop_unsure",
}
OCTAVES = {"tempo_accuracy1": "tempo_octave_errors", "pitch_within_50_cents": "pitch_octave_errors"}


@dataclass(frozen=True)
class Outcome:
    """One clip and one row of the table: whether the control was obeyed, and figures by name.

    `unsure` clips are those in which the estimator found nothing; they are no hits, and counted apart.
    """

    row: str
    hit: bool
    unsure: bool = False
    octave: bool = False  # right but for a factor of 2 or 3 of the tempo, or octaves of the pitch
    figures: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, float]:
        """Return everything as figures by name."""
        found = {self.row: float(self.hit), **self.figures}
        if self.row in UNSURE:
            found[UNSURE[self.row]] = float(self.unsure)
        if self.row in OCTAVES:
            found[OCTAVES[self.row]] = float(self.octave)
        return found


# Means over clips include those that failed.
_FAILED = {"tempo_accuracy1": ("tempo_accuracy2",), "key_exact": ("key_points", "key_points_fifth_below")}


def failed(control: Control) -> list[Outcome]:
    """Return the outcomes of a clip that could not be made, or is silent: no control is obeyed."""
    return [Outcome(row, False, figures=dict.fromkeys(_FAILED.get(row, ()), 0.0)) for row in ROWS[control]]


def score_clip(prompt: ControlPrompt, clip: Clip, seconds: float, tagger: Tagger | None = None) -> list[Outcome]:
    """Score a clip that was generated from a prompt with a length in seconds."""
    if prompt.control in ("instrument", "instrumental"):
        return [_tagged(prompt, clip, tagger)] if tagger else []
    return _SCORERS[prompt.control](prompt, clip, seconds)


@dataclass(frozen=True)
class Tagger:
    """A classifier: its labels, and logits (windows, labels) of a clip."""

    labels: tuple[str, ...]
    logits: Callable[[Clip], Logits]


def _tempo(prompt: ControlPrompt, clip: Clip, seconds: float) -> list[Outcome]:
    found = measure(clip.audio, clip.sample_rate).tempo
    score = score_tempo(float(prompt.asked), found)
    figures = {"tempo_accuracy2": float(score.accuracy2), "tempo_octave_error": score.octave_error}
    return [Outcome("tempo_accuracy1", score.accuracy1, found is None, score.is_multiple, figures)]


def _key(prompt: ControlPrompt, clip: Clip, seconds: float) -> list[Outcome]:
    found = measure(clip.audio, clip.sample_rate).key
    points = key_points(prompt.asked, found)
    figures = {"key_points": points, "key_points_fifth_below": key_points(prompt.asked, found, fifth_below=True)}
    return [Outcome("key_exact", points == 1, found is None, figures=figures)]


def _pitch(prompt: ControlPrompt, clip: Clip, seconds: float) -> list[Outcome]:
    found = measure(clip.audio, clip.sample_rate).pitch or _note(prompt, clip)
    score = score_pitch(pitch_hz(prompt.asked), found)
    return [
        Outcome("pitch_within_50_cents", score.is_right, found is None, score.is_octave, {"pitch_cents": score.cents})
    ]


def _note(prompt: ControlPrompt, clip: Clip) -> float | None:
    """Find the pitch of a timbre that is known from the synthetic dataset, where no period is clear."""
    labels = reference_labels(prompt)
    partials = partials_of(labels) if labels else None
    found = estimate_pitch(spectral_peaks(clip.audio, clip.sample_rate), partials) if partials else None
    return found.hz if found and found.match >= MIN_MATCH else None


def _duration(prompt: ControlPrompt, clip: Clip, seconds: float) -> list[Outcome]:
    score = score_duration(clip.audio, clip.sample_rate, seconds)
    figures = {"missing_samples": float(score.missing)}
    content = {"content_seconds": score.content, "trailing_silence": score.trailing_silence}
    return [
        Outcome("duration_exact", score.is_exact, figures=figures),
        Outcome("content_lasts", score.trailing_silence <= MAX_TRAILING_SILENCE, figures=content),
    ]


def _loudness(prompt: ControlPrompt, clip: Clip, seconds: float) -> list[Outcome]:
    target = float(prompt.asked)
    saved = Clip.load(io.BytesIO(clip.to_bytes("wav", normalize=f"{target:g}lufs")))
    score = score_loudness(saved.audio, saved.sample_rate, target)
    figures = {"loudness_error": score.error, "true_peak": score.true_peak, "loudness_range": score.range}
    return [Outcome("loudness_on_target", score.is_right, figures=figures)]


def _side(prompt: ControlPrompt, clip: Clip, seconds: float) -> list[Outcome]:
    score = score_stereo(clip.audio)
    figures = {"balance": score.balance, "mid_side": score.mid_side, "correlation": score.correlation}
    return [Outcome("side", is_on_side(clip.audio, prompt.asked), figures=figures)]


def _loop(prompt: ControlPrompt, clip: Clip, seconds: float) -> list[Outcome]:
    score = score_loop(clip.audio, clip.sample_rate, float(prompt.asked))
    return [
        Outcome("loop_seamless", score.is_seamless, figures={"wrap_rank": score.rank, "wrap_flux": score.flux}),
        Outcome("loop_on_grid", score.is_on_grid, score.onset != score.onset, figures={"wrap_onset": score.onset}),
    ]


def _tagged(prompt: ControlPrompt, clip: Clip, tagger: Tagger) -> Outcome:
    logits = tagger.logits(clip)
    if prompt.control == "instrumental":
        share = vocal_share(logits, tagger.labels)
        return Outcome("instrumental", share == 0, share != share, figures={"vocal_share": share})
    score = score_tag(logits, tagger.labels, prompt.asked)
    figures = {"tag_probability": score.probability, "tag_rank": float(score.rank)}
    return Outcome(f"instrument_top{TOP}", score.is_in_top(), figures=figures)


_SCORERS: dict[Control, Callable[[ControlPrompt, Clip, float], list[Outcome]]] = {
    "tempo": _tempo,
    "key": _key,
    "pitch": _pitch,
    "duration": _duration,
    "loudness": _loudness,
    "side": _side,
    "loop": _loop,
}
