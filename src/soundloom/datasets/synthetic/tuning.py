"""Simplify sounds for small models: fix properties that captions may omit, and align periods with latents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, tuned_pitch
from soundloom.datasets.synthetic.sounds.drums import STROKE
from soundloom.datasets.synthetic.sounds.effects import SIREN_CYCLES
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE

MATERIAL = "electronic"  # drum kit
SIREN = "yelping"  # the shortest cycle
RATES = {"beeps": 3.6, "siren": SIREN_CYCLES[SIREN]}  # events or cycles per second
SIDE, HARD = 0.75, 0.9  # pan of all sounds on a side; from where captions say "hard left"
BEAT_CHANGE = 0.03  # largest relative change of the length of a beat


def plain(labels: Labels) -> Labels:
    """Fix all properties that captions may omit, so that equal captions mean equal sounds."""
    is_aside = 0 < abs(labels.pan) < HARD
    return replace(
        labels,
        variant=SIREN if labels.family == "siren" else labels.variant,
        rate=RATES.get(labels.family, labels.rate),
        pan=float(np.copysign(SIDE, labels.pan)) if is_aside else labels.pan,
        material=MATERIAL if labels.bpm else labels.material,
        swing=0.0,
        brightness=0.5,
        pan_to=None,
        level=-3.0,
        fade_in=0.0,
        fade_out=0.0,
    )


def tuned(labels: Labels, frame: int) -> Labels:
    """Adjust pitch and tempo slightly so that the sound repeats after few latents of `frame` samples.

    Latents then need not encode the phase of a tone, which is hard to learn. Tones, and partials of bells, are tuned to
    the first multiple of the latent rate, or of its half, quarter …, that is near enough. Beats last a multiple of 16,
    8, 4, 2 or 1 STROKE in the same way; drums start on multiples of one. Other events start with latents, beeps last
    whole latents, and a siren's cycle contains whole periods.
    """
    grid = SAMPLE_RATE / frame
    return replace(
        labels,
        hz=tuned_pitch(labels.hz, grid),
        hz_to=tuned_pitch(labels.hz_to, grid),
        grid=grid,
        bpm=60 * SAMPLE_RATE / _tuned_beat(60 * SAMPLE_RATE / labels.bpm) if labels.bpm else 0,
        rate=_tuned_rate(labels.rate, frame),
    )


def _tuned_beat(samples: float, grid: int = 16 * STROKE) -> int:
    """Return the nearest multiple of the coarsest grid that is near enough."""
    near = max(1, round(samples / grid)) * grid
    if grid == STROKE or abs(near / samples - 1) <= BEAT_CHANGE:
        return near
    return _tuned_beat(samples, grid // 2)


def _tuned_rate(per_second: float, grid: int) -> float:
    """Return the nearest rate whose events are a multiple of `grid` samples apart; keep 0."""
    return SAMPLE_RATE / (grid * max(1, round(SAMPLE_RATE / per_second / grid))) if per_second else 0.0
