"""Augmentation of autoencoder crops: silence, silent ends and sweeps, which expose aliasing.

Source: SAME, as described for its training code.
"""

from __future__ import annotations

import numpy as np

from soundloom.training.config import AugmentationConfig
from soundloom.training.data.protocols import Audio

MIN_HZ, MAX_HZ = 100.0, 22_000.0
OCTAVES = (2.0, 6.5)  # span of a sweep, clipped to the band
LEVELS_DB = (-24.0, -6.0)
HISS = 1e-4


def random_crop(audio: Audio, rng: np.random.Generator, length: int, step: int = 1) -> Audio:
    """Return a crop (2, length) of audio (2, n) that starts at a random multiple of `step`, padded with silence."""
    start = step * int(rng.integers(max(0, audio.shape[1] - length) // step + 1))
    crop = audio[:, start : start + length]
    return np.pad(crop, ((0, 0), (0, length - crop.shape[1])))


def augment(crops: Audio, config: AugmentationConfig, rng: np.random.Generator, rate: int) -> Audio:
    """Silence some crops (b, 2, n) or their ends, and append sweeps: (b + chirps, 2, n)."""
    crops = crops.copy()
    samples = crops.shape[-1]
    for crop in crops:
        if config.silence and rng.random() < config.silence:
            crop[:] = 0
        if config.silent_tail and rng.random() < config.silent_tail:
            crop[:, samples - int(rng.integers(1, min(config.max_tail, samples) + 1)) :] = 0
    sweeps = [chirp(rng, samples, rate) for _ in range(config.chirps)]
    return np.concatenate([crops, np.stack(sweeps)]) if sweeps else crops


def chirp(rng: np.random.Generator, samples: int, rate: int) -> Audio:
    """Return a mono sweep (2, samples), linear in hertz, with faint noise."""
    start = MIN_HZ * (MAX_HZ / MIN_HZ) ** rng.random()
    octaves = rng.uniform(*OCTAVES) * rng.choice([-1, 1])
    end = min(max(start * 2**octaves, MIN_HZ), MAX_HZ, rate / 2)
    hertz = np.linspace(start, end, samples)
    phase = 2 * np.pi * (np.cumsum(hertz) / rate + rng.random())
    sound = 10 ** (rng.uniform(*LEVELS_DB) / 20) * np.sin(phase) + HISS * rng.standard_normal(samples)
    return np.tile(sound.astype(np.float32), (2, 1))
