"""Fréchet distance between Gaussians fitted to two sets of embeddings (FAD, FD).

    F = |mean difference|² + tr(Cr) + tr(Cg) - 2 tr((Cr Cg)^½)

Covariances divide by n - 1; everything is float64. The last trace is the sum of singular values of A Bᵀ, where A and B
are the centered rows over √(n - 1): no product of covariances and no square root of a nonsymmetric matrix is needed,
and sets smaller than their dimension are exact. Source: Dowson and Landau 1982; Kilgour et al. 2019 for audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundloom.errors import SoundloomError
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.statistics.intervals import members

ROUNDING = 1e-9  # of the trace: a value below -ROUNDING × trace is an error
SIZES, DRAWS = 15, 5  # of the extrapolation
MIN_SIZE = 250

Floats = NDArray[np.float64]
Indices = NDArray[np.integer]


class DistanceError(SoundloomError):
    """A distance that cannot be computed from these embeddings."""


@dataclass(frozen=True)
class Factor:
    """A set of embeddings as its mean (d,) and a factor (r, d) whose Gram matrix is the covariance."""

    mean: Floats
    factor: Floats

    @classmethod
    def of(cls, rows: ArrayLike) -> Factor:
        """Return the factor of rows (n, d). Raises DistanceError for fewer than 2 rows, or values not finite."""
        values = _checked(rows)
        mean = values.mean(axis=0)
        centered = (values - mean) / np.sqrt(len(values) - 1)
        if len(centered) > centered.shape[1]:
            centered = np.asarray(np.linalg.qr(centered, mode="r"))
        return cls(mean, centered)

    @classmethod
    def of_moments(cls, moments: Moments) -> Factor:
        """Return the factor of a mean and covariance."""
        values, vectors = np.linalg.eigh(moments.covariance)
        return cls(moments.mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T)

    def distance(self, other: Factor) -> float:
        """Return the Fréchet distance to another set."""
        trace = float((self.factor**2).sum() + (other.factor**2).sum())
        shared = float(np.linalg.svd(self.factor @ other.factor.T, compute_uv=False).sum())
        return _sum_up(self.mean - other.mean, trace, shared)


def frechet_distance(reference: ArrayLike, generated: ArrayLike) -> float:
    """Return the Fréchet distance of embeddings (n, d) and (m, d)."""
    return Factor.of(reference).distance(Factor.of(generated))


def frechet_from_moments(
    mean_reference: ArrayLike,
    covariance_reference: ArrayLike,
    mean_generated: ArrayLike,
    covariance_generated: ArrayLike,
) -> float:
    """Return the Fréchet distance of two means (d,) and covariances (d, d)."""
    arrays = (mean_reference, covariance_reference, mean_generated, covariance_generated)
    first, cr, second, cg = (np.asarray(array, np.float64) for array in arrays)
    values, vectors = np.linalg.eigh(cr)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cg @ root), 0)).sum()
    return _sum_up(first - second, float(np.trace(cr) + np.trace(cg)), float(shared))


def _sum_up(step: Floats, trace: float, shared: float) -> float:
    value = float(step @ step) + trace - 2 * shared
    if value < -ROUNDING * trace:
        raise DistanceError(
            f"the Fréchet distance is {value:.3g}, below 0 by more than rounding", "report this as a bug"
        )
    return value


def frechet_per_clip(reference: ArrayLike, generated: ArrayLike, starts: Sequence[int]) -> Floats:
    """Return the distance of each clip to the whole reference, NaN for clips of one window.

    `starts` are the first rows of clips in `generated` and, last, their number. Long clips have lower values.
    """
    whole, rows = Factor.of(reference), np.asarray(generated, np.float64)
    return np.array([whole.distance(Factor.of(rows[a:b])) if b - a > 1 else np.nan for a, b in pairwise(starts)])


@dataclass(frozen=True)
class Extrapolation:
    """Distances over sample sizes (clips), and the line over 1/n; its intercept is the limit of many samples."""

    sizes: tuple[int, ...]
    points: tuple[float, ...]
    intercept: float
    slope: float
    r2: float


def fit_limit(sizes: Sequence[int], points: ArrayLike) -> Extrapolation:
    """Fit a line over 1/n to distances at sizes n, by least squares."""
    x, y = 1 / np.asarray(sizes, np.float64), np.asarray(points, np.float64)
    slope = float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) ** 2).sum())
    intercept = float(y.mean() - slope * x.mean())
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - float(((y - intercept - slope * x) ** 2).sum()) / spread if spread else 1.0
    return Extrapolation(tuple(int(n) for n in sizes), tuple(y.tolist()), intercept, slope, r2)


def extrapolate(reference: Factor, generated: ArrayLike, clips: Indices, seed: int = 0) -> Extrapolation:
    """Extrapolate the distance to an unlimited number of clips (F∞).

    15 sizes evenly spaced in 1/n from max(250, n / 10) to n, each the mean of 5 draws without replacement. Whole clips
    are drawn, whose rows `clips` (m,) number: windows of one clip are alike, so that more of them are no larger sample.
    Raises DistanceError for fewer than 500 clips.
    """
    rows, parts = np.asarray(generated, np.float64), members(clips)
    count = len(parts)
    if count < 2 * MIN_SIZE:
        raise DistanceError(f"F∞ needs {2 * MIN_SIZE} clips or more, found {count}", "generate more clips, or use KAD")
    sizes = _sizes(count)
    rng = np.random.Generator(np.random.Philox(key=seed))

    def point(size: int) -> float:
        if size == count:
            return reference.distance(Factor.of(rows))
        drawn = (np.concatenate([parts[i] for i in rng.permutation(count)[:size]]) for _ in range(DRAWS))
        return float(np.mean([reference.distance(Factor.of(rows[indices])) for indices in drawn]))

    return fit_limit(sizes, [point(size) for size in sizes])


def _sizes(count: int) -> list[int]:
    smallest = max(MIN_SIZE, count // 10)
    return [round(1 / x) for x in np.linspace(1 / smallest, 1 / count, SIZES)]


def _checked(rows: ArrayLike) -> Floats:
    values = np.asarray(rows, np.float64)
    if len(values) < 2:
        raise DistanceError(f"a distance needs 2 embeddings or more, found {len(values)}", "measure more clips")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise DistanceError(
            f"embedding {row + 1} of {len(values)} is not finite", "leave out the clip that it came from"
        )
    return values
