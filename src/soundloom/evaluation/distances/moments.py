"""Mean and covariance of embeddings, gathered part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Moments of rows (n, d): their count, mean (d,), and the sum of products of deviations (d, d), float64."""

    count: int
    mean: Floats
    products: Floats

    @classmethod
    def of(cls, rows: ArrayLike) -> Self:
        """Return the moments of rows (n, d)."""
        values = np.asarray(rows, np.float64)
        mean = values.mean(axis=0)
        away = values - mean
        return cls(len(values), mean, away.T @ away)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows. Source: Chan et al. 1979, pairwise update."""
        count = self.count + other.count
        step = other.mean - self.mean
        products = self.products + other.products + np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), products)

    @property
    def covariance(self) -> Floats:
        """The covariance (d, d), divided by n - 1."""
        return self.products / (self.count - 1)

    @property
    def effective_rank(self) -> float:
        """The participation ratio of the covariance: (sum of eigenvalues)² / sum of squares."""
        covariance = self.covariance
        squares = float((covariance**2).sum())
        return float(np.trace(covariance) ** 2 / squares) if squares else 0.0
