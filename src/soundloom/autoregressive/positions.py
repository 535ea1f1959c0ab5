"""Sinusoidal positions of the language model, worked out once for both engines."""

from __future__ import annotations

import numpy as np

MAX_PERIOD = 10_000.0


def sinusoids(positions: int, width: int) -> np.ndarray:
    """Table (positions, width), float32, cosines first; the slowest of the width / 2 waves has period 2 pi 10000."""
    half = width // 2
    rates = MAX_PERIOD ** (-np.arange(half) / max(half - 1, 1))
    angles = np.arange(positions)[:, None] * rates
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
