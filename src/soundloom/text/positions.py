"""Relative position buckets of T5: one for each near distance, logarithmic ones for far distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]


def relative_buckets(relative: np.ndarray, buckets: int, max_distance: int) -> Integers:
    """Map relative positions (key minus query) to buckets; half of these are for keys after the query.

    Source: T5, bidirectional case.
    """
    half = buckets // 2
    exact = half // 2
    distance = np.abs(relative)
    # In float32 and in the published order of operations, since a distance may be on the border of a bucket.
    steps = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / math.log(max_distance / exact)
    far = np.minimum(exact + (steps * (half - exact)).astype(np.int64), half - 1)
    return np.where(distance < exact, distance, far) + np.where(relative > 0, half, 0)


def bucket_table(length: int, buckets: int, max_distance: int) -> Integers:
    """Return the buckets (queries, keys) of a sequence of `length` tokens."""
    positions = np.arange(length)
    return relative_buckets(positions[None, :] - positions[:, None], buckets, max_distance)
