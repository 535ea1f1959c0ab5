"""Confidence intervals and rank correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NORMAL_95 = 1.959964
RESAMPLES = 2000

Interval = tuple[float, float]


def wilson(share: float, count: int) -> Interval:
    """Return Wilson's 95 % interval of a share in `count` independent trials."""
    z = NORMAL_95**2 / count
    center = (share + z / 2) / (1 + z)
    reach = NORMAL_95 / (1 + z) * np.sqrt(share * (1 - share) / count + z / (4 * count))
    return float(max(center - reach, 0.0)), float(min(center + reach, 1.0))


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the bootstrap 95 % interval of a mean."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    resampled = rng.choice(np.asarray(values, float), (RESAMPLES, len(values)))
    low, high = np.percentile(resampled.mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's correlation; 0 when one side is constant."""
    x, y = (_ranks(np.asarray(values, float)) for values in (a, b))
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; equal values share their mean rank."""
    return np.array([((values < value).sum() + (values <= value).sum() - 1) / 2 for value in values])
