"""Differences of set distances between two reports: prompts are drawn jointly for both sides.

Distances of a resample are computed from weights of rows, so that no rows are copied: for FAD from weighted moments,
for KAD from the Gram matrix. Resampling raises both distances alike; what is left of that is centered away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.distances.frechet import Factor
from soundloom.evaluation.distances.kernel import KAD_SCALE, gaussian
from soundloom.evaluation.distances.moments import Moments

RESAMPLES = 1000
WIDE, WIDE_RESAMPLES = 128, 200  # fewer resamples for more dimensions, whose distances take longer
MAX_KERNEL_ROWS = 4000  # of the larger side; more are cut to whole prompts, the first ones
BLOCK = 1024  # rows of the reference at once
BATCH_VALUES = 2**22  # float64 in one array of a batch

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Vectors (n, d) of one side, and the number of the prompt of each."""

    vectors: Floats
    groups: Groups


@dataclass(frozen=True)
class SetDifference:
    """Both distances, and resampled differences (resamples,) of them."""

    base: float
    other: float
    resampled: Floats


def prompt_weights(groups: int, resamples: int, seed: int = 0) -> Floats:
    """Return how often (resamples, groups) each prompt is drawn, with replacement."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    return np.asarray(rng.multinomial(groups, np.full(groups, 1 / groups), resamples), np.float64)


def frechet_difference(reference: Factor, base: Rows, other: Rows, groups: int, seed: int = 0) -> SetDifference:
    """Return the difference of two Fréchet distances to a reference."""
    wide = min(base.vectors.shape[1], len(reference.factor)) > WIDE
    weights = prompt_weights(groups, WIDE_RESAMPLES if wide else RESAMPLES, seed)
    values = [reference.distance(Factor.of(side.vectors)) for side in (base, other)]
    first, second = (weighted_frechet(reference, side, weights) for side in (base, other))
    return SetDifference(values[0], values[1], second - first)


def weighted_frechet(reference: Factor, rows: Rows, weights: Floats) -> Floats:
    """Return the distances (resamples,) of rows whose prompts count as often as `weights` (resamples, groups) says.

    tr (Cr Cg)^½ is the sum of √λ of the covariance of rows times the factor of the reference.
    """
    centered = rows.vectors - reference.mean
    projected = centered @ reference.factor.T
    spread = float((reference.factor**2).sum())
    counts = np.bincount(rows.groups, minlength=weights.shape[1]).astype(np.float64)
    squares = np.bincount(rows.groups, (centered**2).sum(axis=1), weights.shape[1])
    sums = _group_sums(centered, rows.groups, weights.shape[1])
    total = weights @ counts
    means = weights @ sums / total[:, None]
    within = (weights @ squares - total * (means**2).sum(axis=1)) / (total - 1)
    shared = np.concatenate([_shared(projected, rows.groups, part) for part in _parts(weights, projected)])
    return np.asarray((means**2).sum(axis=1) + spread + within - 2 * shared)


def _parts(weights: Floats, projected: Floats) -> list[Floats]:
    size = max(1, BATCH_VALUES // max(projected.shape[1] ** 2, weights.shape[1]))
    return [weights[start : start + size] for start in range(0, len(weights), size)]


def _shared(projected: Floats, groups: Groups, weights: Floats) -> Floats:
    """Return the sum of √λ of the weighted covariances of projected rows (n, r)."""
    size, width = weights.shape[1], projected.shape[1]
    counts = np.bincount(groups, minlength=size).astype(np.float64)
    total = weights @ counts
    means = weights @ _group_sums(projected, groups, size) / total[:, None]
    if size * width**2 <= BATCH_VALUES:
        products = _group_sums(
            (projected[:, :, None] * projected[:, None, :]).reshape(len(projected), -1), groups, size
        )
        second = (weights @ products).reshape(len(weights), width, width)
    else:
        second = np.stack([(projected * row[groups][:, None]).T @ projected for row in weights])
    covariance = (second - total[:, None, None] * means[:, :, None] * means[:, None, :]) / (total - 1)[:, None, None]
    return np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0)).sum(axis=1)


def _group_sums(values: Floats, groups: Groups, size: int) -> Floats:
    sums = np.zeros((size, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def kernel_difference(
    reference: Floats, bandwidth: float, base: Rows, other: Rows, groups: int, seed: int = 0
) -> SetDifference:
    """Return the difference of two KADs, without the constant part that is the reference's own.

    Rows that are drawn twice are not compared with themselves, which keeps the estimates unbiased.
    """
    weights = prompt_weights(groups, RESAMPLES, seed)
    ones = np.ones((1, groups))
    values, resampled = [], []
    for side in (base, other):
        gram = gaussian(side.vectors, side.vectors, bandwidth)
        np.fill_diagonal(gram, 0)
        cross = np.zeros(len(side.vectors))
        for start in range(0, len(reference), BLOCK):
            cross += gaussian(side.vectors, reference[start : start + BLOCK], bandwidth).sum(axis=1)
        cross /= len(reference)
        values.append(float(_weighted_kernel(gram, cross, ones[:, side.groups])[0]))
        resampled.append(_weighted_kernel(gram, cross, weights[:, side.groups]))
    return SetDifference(values[0], values[1], resampled[1] - resampled[0])


def _weighted_kernel(gram: Floats, cross: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1)
    within = ((weights @ gram) * weights).sum(axis=1) / (total**2 - (weights**2).sum(axis=1))
    return np.asarray(KAD_SCALE * (within - 2 * weights @ cross / total))


def resampling_p(difference: float, resampled: Floats) -> float:
    """Return the two-sided p-value of a difference: the share of centered resamples that are at least as large."""
    away = np.abs(resampled - resampled.mean())
    return float((1 + (away >= abs(difference) - 1e-15).sum()) / (1 + len(away)))


def reference_moments_equal(first: Moments, second: Moments) -> bool:
    """Return whether two reports were measured against the same reference."""
    return (
        first.count == second.count
        and first.mean.shape == second.mean.shape
        and bool(np.allclose(first.mean, second.mean, rtol=1e-6, atol=1e-9))
    )
