"""Precision, recall, density and coverage by nearest neighbors: they tell "good" from "varied".

A collapsed model has high density and low coverage. Sources: Kynkäänniemi et al. 2019; Naeem et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundloom.evaluation.distances.frechet import DistanceError

NEIGHBORS = 5

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
    between = _distances(x, y)
    inside_x = between < radius_x[:, None]
    return Neighborhood(
        precision=float(inside_x.any(axis=0).mean()),
        recall=float((between < radius_y).any(axis=1).mean()),
        density=float(inside_x.sum() / (k * len(y))),
        coverage=float((between.min(axis=1) < radius_x).mean()),
    )


def _distances(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def _radii(rows: Floats, k: int) -> Floats:
    distances = _distances(rows, rows)
    np.fill_diagonal(distances, 0)
    return np.partition(distances, k, axis=1)[:, k]
