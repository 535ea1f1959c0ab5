"""A simpler world: sounds without what captions leave out, tuned so that their latents repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soundloom.datasets.synthetic.effects import SIREN_CYCLES
from soundloom.datasets.synthetic.labels import Labels, tuned_pitch
from soundloom.datasets.synthetic.signals import SAMPLE_RATE

MATERIAL = "electronic"  # the drum kit of a plain world
SIREN = "yelping"  # whose cycle is the shortest
RATES = {"beeps": 3.6, "siren": SIREN_CYCLES[SIREN]}  # events or cycles per second
SIDE, HARD = 0.75, 0.9  # where all are that are on a side, and from where captions call it hard
BEAT = 1024  # samples that beats are multiples of: the coarsest grid that moves no tempo by more than 4 %


def plain(labels: Labels) -> Labels:
    """Give everything that a caption may leave out one value, so that words mean one sound."""
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
    """Move pitches and tempo a little until the sound repeats after few latents of `frame` samples.

    A latent then need not say where in its cycle a tone is, which is hard to learn: tones are tuned to a multiple of
    the latents' rate, or of half, a quarter … of it, whichever is near enough first. So are the partials of bells.
    Beats fall on multiples of BEAT, other repeated events on latents. Beeps last whole latents, and the cycle of a
    siren holds whole periods.
    """
    grid = SAMPLE_RATE / frame
    return replace(
        labels,
        hz=tuned_pitch(labels.hz, grid),
        hz_to=tuned_pitch(labels.hz_to, grid),
        grid=grid,
        bpm=60 * _tuned_rate(labels.bpm / 60, BEAT),
        rate=_tuned_rate(labels.rate, frame),
    )


def _tuned_rate(per_second: float, grid: int) -> float:
    """The nearest rate of events that are a multiple of `grid` samples apart; 0 stays."""
    return SAMPLE_RATE / (grid * max(1, round(SAMPLE_RATE / per_second / grid))) if per_second else 0.0
