"""Frequencies of the Fourier features that embed times and durations."""

import math

import numpy as np

MIN_FREQUENCY, MAX_FREQUENCY = 0.5, 10_000.0


def expo_frequencies(features: int) -> np.ndarray:
    """Return `features / 2` frequencies, float32, log-spaced from 0.5 to 10000.

    Both engines use this table: at the top, one unit in the last place changes angles by thousandths of a radian.
    Source: stable-audio-3, models/blocks.py, ExpoFourierFeatures.
    """
    ramp = np.linspace(0, 1, features // 2, dtype=np.float32)
    span = np.float32(math.log(MAX_FREQUENCY) - math.log(MIN_FREQUENCY))
    return np.exp(ramp * span + np.float32(math.log(MIN_FREQUENCY)))
