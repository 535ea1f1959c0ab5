"""Adjust p-values of several tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def holm(p: ArrayLike) -> Floats:
    """Return p-values adjusted by Holm's step-down method, which bounds the chance of any false positive."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    return _unsorted(np.maximum.accumulate(values[order] * factors), order)


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Return p-values adjusted by Benjamini and Hochberg, which bounds the share of false positives among positives."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = len(values) / np.arange(1, len(values) + 1)
    return _unsorted(np.minimum.accumulate((values[order] * factors)[::-1])[::-1], order)


def _unsorted(values: Floats, order: NDArray[np.integer]) -> Floats:
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(values, 1.0)
    return adjusted
