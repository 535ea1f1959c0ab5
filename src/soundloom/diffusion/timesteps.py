"""Timesteps of flow-matching training, 1 for noise and 0 for data, from uniform or normal draws; NumPy.

Source: stable-audio-3, inference/sampling.py and training/diffusion.py.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.floating]

TRUNCATION = 0.075  # of the logit-normal distribution
LOGSNR_ENDS = 1e-4  # smallest distance from 0 and 1 of times that are drawn by their log SNR
_NORMAL = NormalDist()
_EDGE = 1 - 2.0**-24  # the float32 number nearest to 1 that has a finite quantile


def normal_cdf(z: NDArray) -> NDArray[np.float32]:
    """Return the share of a standard normal distribution below z, float32."""
    scaled = np.asarray(z, np.float32) / np.float32(math.sqrt(2))
    erf = np.array([math.erf(value) for value in scaled.ravel().tolist()], np.float32).reshape(scaled.shape)
    return np.float32(0.5) * (1 + erf)


def truncated_logit_normal(u: NDArray) -> NDArray[np.float32]:
    """Map uniform draws to 1 - r, where r is a logistic normal variable cut off below `TRUNCATION` and rescaled.

    Each operation is rounded to float32, as published: the fastest time features make 10000 periods, so they show
    differences of 1e-6.
    """
    one, truncation = np.float32(1), np.float32(TRUNCATION)
    lowest = normal_cdf(np.array(math.log(TRUNCATION / (1 - TRUNCATION))))
    share = lowest + (one - lowest) * np.asarray(u, np.float32)
    # Between -1 and 1, the argument of the inverse error function.
    centered = np.clip(2 * share - one, -_EDGE, _EDGE).astype(np.float64)
    quantiles = np.array([_NORMAL.inv_cdf((1 + value) / 2) for value in centered.ravel().tolist()], np.float32)
    signal = one / (one + np.exp(-quantiles.reshape(share.shape)))
    return one - (signal - truncation) / (one - truncation)


def logit_normal(z: NDArray) -> Times:
    """Map normal draws to their sigmoid."""
    return _sigmoid(np.asarray(z, np.float64))


def logsnr_normal(z: NDArray, mean: float, deviation: float) -> Times:
    """Map normal draws to times whose log SNR is normal."""
    return clipped(_sigmoid(-(mean + deviation * np.asarray(z, np.float64))))


def logsnr_uniform(u: NDArray, low: float, high: float) -> Times:
    """Map uniform draws to times whose log SNR is uniform between `low` and `high`."""
    return _sigmoid(-(low + (high - low) * np.asarray(u, np.float64)))


def clipped(t: Times) -> Times:
    """Keep times away from 0 and 1."""
    return np.clip(t, LOGSNR_ENDS, 1 - LOGSNR_ENDS)


def _sigmoid(x: Times) -> Times:
    return 1 / (1 + np.exp(-x))
