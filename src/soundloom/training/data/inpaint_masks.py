"""Random masks for training inpainting and continuation: 1 is preserved, 0 is generated.

Source: stable-audio-3, its training masks of four kinds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.float32]

KINDS = ("segments", "full", "causal", "spans")
MAX_SEGMENTS = 10
SPAN_COUNTS, SPAN_WEIGHTS = (1, 2, 3, 4), (0.5, 0.25, 0.125, 0.125)
MIN_SHARE = 0.2  # of the clip that spans cover
PLACEMENTS = 50  # random attempts before a span is placed where it overlaps least


def sample_mask(rng: np.random.Generator, chances: Sequence[float], valid: int, frames: int) -> Mask:
    """Sample a mask (frames,) for a clip whose first `valid` frames are real; later frames are never preserved."""
    kind = KINDS[rng.choice(len(KINDS), p=np.asarray(chances))]
    mask = np.zeros(frames, np.float32)
    mask[:valid] = {"segments": _segments, "full": _full, "causal": _causal, "spans": _spans}[kind](rng, valid)
    return mask


def _full(rng: np.random.Generator, n: int) -> Mask:
    return np.zeros(n, np.float32)


def _segments(rng: np.random.Generator, n: int) -> Mask:
    """Several gaps, which may overlap."""
    mask = np.ones(n, np.float32)
    count = int(rng.integers(1, MAX_SEGMENTS + 1))
    for _ in range(count):
        length = int(rng.integers(1, max(1, n // count) + 1))
        start = int(rng.integers(0, n - length + 1))
        mask[start : start + length] = 0
    return mask


def _causal(rng: np.random.Generator, n: int) -> Mask:
    """The start is preserved and continued."""
    return (np.arange(n) < rng.integers(0, n + 1)).astype(np.float32)


def _spans(rng: np.random.Generator, n: int) -> Mask:
    """One to four separate gaps that together cover a random share; the longest is placed first."""
    total = max(1, int(rng.uniform(MIN_SHARE, 1) * n))
    count = min(int(rng.choice(SPAN_COUNTS, p=SPAN_WEIGHTS)), total)
    cuts = np.sort(rng.choice(np.arange(1, total), count - 1, replace=False))
    mask = np.ones(n, np.float32)
    for length in sorted(np.diff([0, *cuts, total]), reverse=True):
        start = _find_place(rng, mask, int(length))
        mask[start : start + length] = 0
    return mask


def _find_place(rng: np.random.Generator, mask: Mask, length: int) -> int:
    """Find the start of `length` preserved frames, or of the fewest generated ones."""
    last = len(mask) - length
    for _ in range(PLACEMENTS):
        start = int(rng.integers(0, last + 1))
        if mask[start : start + length].all():
            return start
    preserved = np.concatenate([[0], np.cumsum(mask)])
    return int(np.argmax(preserved[length:] - preserved[: last + 1]))
