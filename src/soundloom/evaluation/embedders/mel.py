"""Mel filter banks of the networks' front ends, in float64.

They differ from `audio.mel` in scale, in the shape of a triangle or in its weight; an embedder must use those that its
network was trained with.
"""

from __future__ import annotations

import numpy as np

SLANEY_BREAK = 1000.0  # Hz; linear below, logarithmic above
SLANEY_LINEAR = 200 / 3  # Hz per mel
SLANEY_LOG = np.log(6.4) / 27  # of the frequency per mel


def htk_mel(hertz: np.ndarray) -> np.ndarray:
    """Return mel of frequencies on the scale of HTK."""
    return 1127 * np.log(1 + np.asarray(hertz) / 700)


def slaney_mel(hertz: np.ndarray) -> np.ndarray:
    """Return mel of frequencies on the scale of Slaney's Auditory Toolbox."""
    hertz = np.asarray(hertz, np.float64)
    above = SLANEY_BREAK / SLANEY_LINEAR + np.log(np.maximum(hertz, SLANEY_BREAK) / SLANEY_BREAK) / SLANEY_LOG
    return np.where(hertz < SLANEY_BREAK, hertz / SLANEY_LINEAR, above)


def slaney_hertz(mel: np.ndarray) -> np.ndarray:
    """Return frequencies of mel on Slaney's scale."""
    start = SLANEY_BREAK / SLANEY_LINEAR
    return np.where(
        mel < start, mel * SLANEY_LINEAR, SLANEY_BREAK * np.exp((np.maximum(mel, start) - start) * SLANEY_LOG)
    )


def htk_unit_sum(bands: int, size: int, rate: int) -> np.ndarray:
    """Return filters (bands, size / 2 + 1) from 0 Hz to Nyquist, triangular in mel, whose weights sum to 1 each.

    Source: the definition of Essentia's MelBands with warping weights and unit sum.
    """
    bins = htk_mel(np.fft.rfftfreq(size, 1 / rate))
    filters = _triangles(bins, np.linspace(0, htk_mel(np.array(rate / 2)), bands + 2))
    return filters / np.maximum(filters.sum(axis=1, keepdims=True), 1e-12)


def slaney_unit_area(bands: int, size: int, rate: int) -> np.ndarray:
    """Return filters (bands, size / 2 + 1) from 0 Hz to Nyquist, triangular in hertz, of area 1 each.

    Source: the definition of librosa's default mel filters.
    """
    edges = slaney_hertz(np.linspace(0, slaney_mel(np.array(rate / 2)), bands + 2))
    return _triangles(np.fft.rfftfreq(size, 1 / rate), edges) * (2 / (edges[2:] - edges[:-2]))[:, None]


def _triangles(bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.clip(np.minimum((bins - low) / (center - low), (high - bins) / (high - center)), 0, None)
