"""Sounds to edit, and models that edit by rule, so that what a measure must find is known."""

from __future__ import annotations

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.diffusion.inpainting import blend
from soundloom.evaluation.edits.sources import Source

RATE = 22050


def music(number, seconds=4.0, rate=RATE, channels=2):
    """Return notes of changing pitch with onsets and noise between them, in a register of their own."""
    rng = np.random.Generator(np.random.Philox(key=number))
    times = np.arange(round(seconds * rate)) / rate
    times += 0.1  # such that regions do not begin with a note
    step = (times // 0.25).astype(int)
    pitches = 110 * 2 ** (number % 5) * 2 ** (rng.integers(0, 12, step.max() + 1) / 12)
    level = 0.25 * np.exp(-4 * (times % 0.25)) * rng.uniform(0.3, 1, step.max() + 1)[step]
    tone = level * np.sin(2 * np.pi * np.cumsum(pitches[step]) / rate)
    noise = (0.002 + 0.02 * rng.uniform()) * rng.normal(size=(channels, len(times)))
    return (tone + noise).astype(np.float32)


def source(number, **options):
    return Source(f"músic {number}", music(number, **options), options.get("rate", RATE), f"caption {number}")


def regenerated(edit, number):
    """Return the source with other music in the region, crossfaded as the pipeline does."""
    new = music(number, edit.source.samples / edit.source.rate, edit.source.rate)
    return blend(edit.source.audio, 0, new, [edit.span], round(0.01 * edit.source.rate))


class MixingModel:
    """Varies a sound by mixing it with other music, which belongs to the prompt, in the shares of the noise level."""

    sample_rate = RATE

    def run(self, requests):
        return [self._clip(request) for request in requests]

    def _clip(self, request):
        seconds = request.source.seconds if request.source else request.seconds
        new = music(int(request.prompt.split()[-1]), seconds)
        level = np.float32(request.noise)
        return Clip(new if request.source is None else (1 - level) * request.source.audio + level * new, RATE)
