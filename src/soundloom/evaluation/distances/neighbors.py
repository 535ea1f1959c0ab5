"""Precision, recall, density and coverage by nearest neighbors: they tell "good" from "varied".

A collapsed model has high density and low coverage. Sources: Kynkäänniemi et al. 2019; Naeem et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundloom.evaluation.distances.frechet import DistanceError

NEIGHBORS = 5
BLOCK = 256  # rows of a matrix of distances at once

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Neighborhood:
    """Shares from 0 to 1, but density can exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbors(reference: ArrayLike, generated: ArrayLike, k: int = NEIGHBORS) -> Neighborhood:
    """Compare embeddings (n, d) and (m, d), best with n = m.

    The ball of a point reaches to its k-th neighbor in its own set, and holds what is strictly inside. Raises
    DistanceError for sets of k points or fewer.
    """
    x, y = np.asarray(reference, np.float64), np.asarray(generated, np.float64)
    if min(len(x), len(y)) <= k:
        raise DistanceError(
            f"{k} neighbors need more than {k} embeddings, found {min(len(x), len(y))}", "measure more clips"
        )
    radius_x, radius_y = _radii(x, k), _radii(y, k)
    inside, reached, near, covered = 0, np.zeros(len(y), bool), 0, 0
    for start in range(0, len(x), BLOCK):
        distances = _distances(x[start : start + BLOCK], y)
        in_ball = distances < radius_x[start : start + BLOCK, None]
        inside += int(in_ball.sum())
        reached |= in_ball.any(axis=0)
        covered += int(in_ball.any(axis=1).sum())
        near += int((distances < radius_y).any(axis=1).sum())
    return Neighborhood(
        precision=float(reached.mean()), recall=near / len(x), density=inside / (k * len(y)), coverage=covered / len(x)
    )


def _distances(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def _radii(rows: Floats, k: int) -> Floats:
    """Return the distance of each row to its k-th neighbor."""
    radii = []
    for start in range(0, len(rows), BLOCK):
        distances = _distances(rows[start : start + BLOCK], rows)
        own = np.arange(len(distances))
        distances[own, start + own] = 0
        radii.append(np.partition(distances, k, axis=1)[:, k].copy())  # not a view that keeps the matrix
    return np.concatenate(radii)
