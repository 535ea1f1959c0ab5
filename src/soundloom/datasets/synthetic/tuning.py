"""A simpler world: sounds without what captions leave out, tuned so that their latents repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.signals import SAMPLE_RATE

MATERIAL = "electronic"  # the drum kit of a plain world
TUNING_CENTS = 20  # by which a tuned pitch may be off
BEAT_PLACES = 4  # in a latent where a beat may fall: the coarsest grid that moves no tempo by more than 4 %


def plain(labels: Labels) -> Labels:
    """Give everything that a caption may leave out one value, so that words mean one sound."""
    return replace(
        labels,
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
    the latents' rate, or of half, a quarter … of it, whichever is near enough first. Beats fall on quarters of latents.
    """
    beat = frame // BEAT_PLACES
    beats = max(1, round(60 * SAMPLE_RATE / labels.bpm / beat)) if labels.bpm else 0
    return replace(
        labels,
        hz=tuned_pitch(labels.hz, SAMPLE_RATE / frame),
        hz_to=tuned_pitch(labels.hz_to, SAMPLE_RATE / frame),
        bpm=60 * SAMPLE_RATE / (beats * beat) if beats else 0,
    )


def tuned_pitch(hz: float, grid: float) -> float:
    """The multiple of the coarsest of grid, grid / 2, grid / 4 … that is within TUNING_CENTS of a pitch; 0 stays."""
    near = grid * round(hz / grid)
    if not hz or (near and abs(1200 * np.log2(near / hz)) <= TUNING_CENTS):
        return near
    return tuned_pitch(hz, grid / 2)
