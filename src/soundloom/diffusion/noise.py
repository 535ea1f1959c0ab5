"""Noise that depends on the seed, the step and nothing else: no device, engine, batch or length changes it."""

from __future__ import annotations

import secrets

import numpy as np


def random_seed() -> int:
    """Draw a seed short enough to be typed again."""
    return secrets.randbelow(2**31)


def gaussian(seed: int, step: int, channels: int, frames: int) -> np.ndarray:
    """Return standard normal noise (channels, frames), float32, from Philox keyed by (seed, step).

    Step 0 is the initial latent, step i + 1 what sampler step i adds. Draws run frame by frame, so that a longer
    clip begins with the noise of a shorter one.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))
    return np.ascontiguousarray(generator.standard_normal((frames, channels), dtype=np.float32).T)


def batch_noise(seeds: list[int], step: int, channels: int, frames: int) -> np.ndarray:
    """Return noise (items, channels, frames), each item from its own seed."""
    return np.stack([gaussian(seed, step, channels, frames) for seed in seeds])
