"""Strengths from pairwise choices. Source: Bradley and Terry 1952; Hunter 2004 for the iteration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ITERATIONS, TOLERANCE = 1000, 1e-10
PRIOR = 0.5  # wins of each over each, so that who always wins has a finite strength

Floats = NDArray[np.float64]


def strengths(wins: Floats, prior: float = PRIOR) -> Floats:
    """Return log strengths (k,), of mean 0, from wins (k, k) of rows over columns; ties are half a win for both.

    The odds that i is preferred to j are exp(strength i - strength j).
    """
    count = len(wins)
    won = wins + prior * (1 - np.eye(count))
    total, games = won.sum(axis=1), won + won.T
    power = np.ones(count)
    for _ in range(ITERATIONS):
        new = total / (games / (power[:, None] + power[None, :])).sum(axis=1)
        new /= np.exp(np.log(new).mean())
        done = np.abs(new - power).max() < TOLERANCE
        power = new
        if done:
            break
    return np.asarray(np.log(power))


def win_matrix(first: NDArray[np.int64], second: NDArray[np.int64], scores: Floats, count: int) -> Floats:
    """Return wins (k, k) from choices: the numbers of both sides, and the score of the first: 1, 0.5 or 0."""
    wins = np.zeros((count, count))
    np.add.at(wins, (first, second), scores)
    np.add.at(wins, (second, first), 1 - scores)
    return wins
