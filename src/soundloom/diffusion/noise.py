"""Gaussian noise that depends only on seed and step, not on device, engine, batch or length."""

from __future__ import annotations

import secrets

import numpy as np

# NumPy would load numpy.random at its first use, between sampling steps, and that import swallows Ctrl-C.
from numpy.random import Generator, Philox


def random_seed() -> int:
    """Return a random seed that is short enough to retype."""
    return secrets.randbelow(2**31)


def keyed_generator(seed: int, step: int, stream: int = 0) -> Generator:
    """Return the random numbers of a training step: of one of its streams, such as those of its micro-batches."""
    return Generator(Philox(key=[seed, step], counter=[0, 0, 0, stream]))


def gaussian(seed: int, step: int, channels: int, frames: int) -> np.ndarray:
    """Return standard normal noise (channels, frames), float32, from Philox keyed by (seed, step).

    Step 0 is the initial latent, step i + 1 the noise that sampler step i adds. Samples run frame by frame, so that a
    longer clip starts with the noise of a shorter one.
    """
    generator = Generator(Philox(key=np.array([seed, step], dtype=np.uint64)))
    return np.ascontiguousarray(generator.standard_normal((frames, channels), dtype=np.float32).T)


def batch_noise(seeds: list[int], step: int, channels: int, frames: int) -> np.ndarray:
    """Return noise (items, channels, frames), one seed per item."""
    return np.stack([gaussian(seed, step, channels, frames) for seed in seeds])
