"""Confidence intervals. Intervals hold 95 % unless `level` says otherwise.

Functions that resample take `indices` (resamples, n); `resample_indices` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
LEVEL = 0.95

Interval = tuple[float, float]
Floats = NDArray[np.float64]
Indices = NDArray[np.integer]


def wilson(share: float, count: int, level: float = LEVEL) -> Interval:
    """Return Wilson's interval of a share in `count` independent trials."""
    normal = NormalDist().inv_cdf((1 + level) / 2)
    z = normal**2 / count
    center = (share + z / 2) / (1 + z)
    reach = normal / (1 + z) * np.sqrt(share * (1 - share) / count + z / (4 * count))
    return float(max(center - reach, 0.0)), float(min(center + reach, 1.0))


def resample_indices(count: int, resamples: int = RESAMPLES, seed: int = 0) -> Indices:
    """Draw `resamples` samples of `count` indices, with replacement."""
    return np.random.Generator(np.random.Philox(key=seed)).integers(0, count, (resamples, count))


def members(groups: Indices) -> list[Indices]:
    """Return the indices of the values of each group, groups in ascending order."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def percentiles(resampled: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the middle `level` of resampled values, linear between ranks."""
    low, high = np.percentile(np.asarray(resampled, np.float64), (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the percentile bootstrap interval of a mean."""
    array = np.asarray(values, np.float64)
    return percentiles(array[resample_indices(len(array), seed=seed)].mean(axis=1))


def basic(value: float, resampled: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the basic bootstrap interval: the percentiles of the resampled values, mirrored at the value."""
    low, high = percentiles(resampled, level)
    return 2 * value - high, 2 * value - low


def centered(value: float, resampled: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the percentiles of resampled values around their mean, moved to the value.

    For distances between sets: repeated clips raise every resampled distance, so that plain percentiles can miss the
    value itself. The interval says how much the value varies, not how far it is from the limit of many clips.
    """
    resampled = np.asarray(resampled, np.float64)
    low, high = percentiles(resampled - resampled.mean(), level)
    return value + low, value + high


@dataclass(frozen=True)
class BCa:
    """A bias-corrected and accelerated interval. Source: Efron 1987, "Better bootstrap confidence intervals"."""

    interval: Interval
    bias: float
    acceleration: float


def bca(values: Sequence[float], indices: Indices | None = None, level: float = LEVEL) -> BCa:
    """Return the BCa interval of a mean, for skewed values."""
    array = np.asarray(values, np.float64)
    resampled = array[resample_indices(len(array)) if indices is None else indices].mean(axis=1)
    if np.ptp(array) <= 1e-12 * np.abs(array).max():  # equal but for rounding
        return BCa((float(resampled[0]), float(resampled[0])), 0.0, 0.0)
    normal = NormalDist()
    below = float((resampled < array.mean()).mean())
    edge = 0.5 / len(resampled)  # so that a share of 0 or 1 has a quantile
    bias = normal.inv_cdf(min(max(below, edge), 1 - edge))
    left_out = (array.sum() - array) / max(len(array) - 1, 1)
    away = left_out.mean() - left_out
    acceleration = float((away**3).sum() / (6 * max((away**2).sum(), 1e-300) ** 1.5))

    def corrected(quantile: float) -> float:
        z = bias + normal.inv_cdf(quantile)
        return 100 * normal.cdf(bias + z / (1 - acceleration * z))

    low, high = np.percentile(resampled, (corrected((1 - level) / 2), corrected((1 + level) / 2)))
    return BCa((float(low), float(high)), bias, acceleration)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's correlation; 0 when one side is constant."""
    x, y = (ranks(np.asarray(values, np.float64)) for values in (a, b))
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else 0.0


def ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[inverse]
