"""A simpler world: sounds without what captions leave out, tuned so that their latents repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, tuned_pitch
from soundloom.datasets.synthetic.sounds.drums import STROKE
from soundloom.datasets.synthetic.sounds.effects import SIREN_CYCLES
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE

MATERIAL = "electronic"  # the drum kit of a plain world
SIREN = "yelping"  # whose cycle is the shortest
RATES = {"beeps": 3.6, "siren": SIREN_CYCLES[SIREN]}  # events or cycles per second
SIDE, HARD = 0.75, 0.9  # where all are that are on a side, and from where captions call it hard
BEAT_CHANGE = 0.03  # share by which a beat may become longer or shorter


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
    Beats last a multiple of 16, 8, 4, 2 or 1 STROKE, whichever is near enough first, and drums are struck on multiples
    of one. Other repeated events fall on latents. Beeps last whole latents, the cycle of a siren holds whole periods.
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
    """The nearest multiple of the coarsest grid that is near enough."""
    near = max(1, round(samples / grid)) * grid
    if grid == STROKE or abs(near / samples - 1) <= BEAT_CHANGE:
        return near
    return _tuned_beat(samples, grid // 2)


def _tuned_rate(per_second: float, grid: int) -> float:
    """The nearest rate of events that are a multiple of `grid` samples apart; 0 stays."""
    return SAMPLE_RATE / (grid * max(1, round(SAMPLE_RATE / per_second / grid))) if per_second else 0.0
