"""Sinusoidal position embeddings of the language model, shared by both engines."""

from __future__ import annotations

import numpy as np

MAX_PERIOD = 10_000.0


def sinusoids(positions: int, width: int) -> np.ndarray:
    """Return a table (positions, width), float32, cosines first; the longest period is 2 pi 10000."""
    half = width // 2
    frequencies = MAX_PERIOD ** (-np.arange(half) / max(half - 1, 1))
    angles = np.arange(positions)[:, None] * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
