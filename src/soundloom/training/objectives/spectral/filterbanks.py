"""Filters for training losses: chroma bands around an octave, and a K-weighting filter.

Everything is NumPy in float64, computed once; rates and frequencies are in hertz.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

LOWEST_A = 27.5  # A0, the start of octave 0 of the chroma bank
SEMITONES_A_TO_C = 3
WEIGHTING_TAPS, WEIGHTING_POINTS = 257, 8193
HIGH_PASS, HIGH_PASS_Q = 38.135, 0.5
SHELF, SHELF_Q, SHELF_DB = 1681.974, 1.69, 4.0
REFERENCE = 1000.0  # where K-weighting changes nothing


def chroma_bank(bins: int, window: int, rate: int, octave: float, width: float) -> Matrix:
    """Distribute each frequency over pitch classes, (bins, window / 2 + 1); rows start near C.

    A frequency's weights are a Gaussian over the classes that sums to 1, times a Gaussian over octaves above A0 with
    this center and width. Pitch class p (C is 0) is at row (bins * (p + 3) / 12 - 3 * (bins // 12)) mod bins.
    Source: the chroma bank of librosa as the training code of SAME uses it, normalized over classes.
    """
    hertz = np.arange(1, window // 2 + 1) * rate / window
    position = bins * np.log2(hertz / LOWEST_A)
    position = np.concatenate([position[:1] - 1.5 * bins, position])  # 0 Hz: below all octaves
    spread = np.maximum(np.diff(position, append=position[-1] + 1), 1.0)
    distance = (position - np.arange(bins)[:, None] + bins / 2) % bins - bins / 2
    weights = np.exp(-0.5 * (2 * distance / spread) ** 2)
    weights /= weights.sum(0)
    weights *= np.exp(-0.5 * ((position / bins - octave) / width) ** 2)
    return np.roll(weights, -SEMITONES_A_TO_C * (bins // 12), axis=0)


def k_weighting(rate: int) -> Matrix:
    """Linear-phase FIR filter (257,) that approximates K-weighting: a high-pass and a 4 dB shelf, gain 1 at 1 kHz.

    By frequency sampling with a window, which limits its resolution to about 170 Hz at 44.1 kHz.
    """
    response = _k_response(np.linspace(0, rate / 2, WEIGHTING_POINTS))
    middle = WEIGHTING_TAPS // 2
    taps = np.roll(np.fft.irfft(response), middle)[:WEIGHTING_TAPS] * np.hamming(WEIGHTING_TAPS)
    phases = np.exp(-2j * np.pi * REFERENCE / rate * np.arange(WEIGHTING_TAPS))
    return taps / abs(taps @ phases)


def _k_response(hertz: Matrix) -> Matrix:
    """Magnitude of the two analog sections in series."""
    s = 1j * hertz / HIGH_PASS
    high_pass = s**2 / (s**2 + s / HIGH_PASS_Q + 1)
    s, a = 1j * hertz / SHELF, 10 ** (SHELF_DB / 40)
    tilt = np.sqrt(a) / SHELF_Q * s
    shelf = a * (a * s**2 + tilt + 1) / (s**2 + tilt + a)
    return np.abs(high_pass * shelf)
