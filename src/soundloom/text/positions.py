"""Relative positions as T5 sorts them: near ones each in a bucket of their own, far ones together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]


def relative_buckets(relative: np.ndarray, buckets: int, max_distance: int) -> Integers:
    """Map positions of keys less those of queries to buckets of the same shape.

    Half of the buckets are for keys behind the query. Source: T5, bidirectional case.
    """
    half = buckets // 2
    exact = half // 2
    distance = np.abs(relative)
    # In single precision and in this order, as published: a distance may lie on a bucket's border.
    steps = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / math.log(max_distance / exact)
    far = np.minimum(exact + (steps * (half - exact)).astype(np.int64), half - 1)
    return np.where(distance < exact, distance, far) + np.where(relative > 0, half, 0)


def bucket_table(length: int, buckets: int, max_distance: int) -> Integers:
    """Return the buckets (query, key) of a sequence."""
    positions = np.arange(length)
    return relative_buckets(positions[None, :] - positions[:, None], buckets, max_distance)
