"""Timesteps of flow-matching training, 1 for noise and 0 for data, from uniform or normal draws; NumPy, float64.

Source: stable-audio-3, inference/sampling.py and training/diffusion.py.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

TRUNCATION = 0.075  # of the logit-normal distribution
LOGSNR_ENDS = 1e-4  # smallest distance from 0 and 1 of times that are drawn by their log SNR
_NORMAL = NormalDist()
_EDGE = 1e-12  # probabilities nearer to 0 and 1 have no finite quantile in float64 worth having


def normal_cdf(z: NDArray) -> Times:
    """Return the share of a standard normal distribution below z."""
    return np.array([_NORMAL.cdf(float(value)) for value in np.ravel(z)]).reshape(np.shape(z))


def normal_quantile(u: NDArray) -> Times:
    """Return the inverse of `normal_cdf`."""
    clipped = np.clip(np.asarray(u, np.float64), _EDGE, 1 - _EDGE)
    return np.array([_NORMAL.inv_cdf(float(value)) for value in np.ravel(clipped)]).reshape(np.shape(u))


def truncated_logit_normal(u: NDArray) -> Times:
    """Map uniform draws to 1 - r, where r is a logistic normal variable cut off below `TRUNCATION` and rescaled."""
    lowest = _NORMAL.cdf(math.log(TRUNCATION / (1 - TRUNCATION)))
    signal = _sigmoid(normal_quantile(lowest + (1 - lowest) * np.asarray(u, np.float64)))
    return 1 - (signal - TRUNCATION) / (1 - TRUNCATION)


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
