"""Random masks for training inpainting and continuation: 1 is preserved, 0 is generated.

Source: stable-audio-3, models/inpainting.py: its four kinds of training masks and the order of their random draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.float32]
Kind = Literal["segments", "full", "causal", "spans"]

KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_SEGMENTS = 10
SPAN_COUNTS, SPAN_WEIGHTS = (1, 2, 3, 4), (0.5, 0.25, 0.125, 0.125)
MIN_SHARE = 0.2  # of the clip that spans cover
PLACEMENTS = 50  # random attempts before a span takes the first free place


class Draws(Protocol):
    """The random draws that masks need, named as in Python's `random`."""

    def randint(self, low: int, high: int) -> int:
        """Draw an integer from low to high, both included."""

    def uniform(self, low: float, high: float) -> float:
        """Draw a number between low and high."""

    def random(self) -> float:
        """Draw a number in [0, 1)."""

    def choice(self, values: Sequence[int], weights: Sequence[float]) -> int:
        """Draw a value with these probabilities."""


class RandomDraws:
    """Draws from a NumPy generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def randint(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def random(self) -> float:
        return float(self.rng.random())

    def choice(self, values: Sequence[int], weights: Sequence[float]) -> int:
        return int(self.rng.choice(values, p=weights))


def sample_mask(rng: np.random.Generator, chances: Sequence[float], valid: int, frames: int) -> Mask:
    """Sample a mask (frames,) for a clip whose first `valid` frames are real; later frames are never preserved."""
    kind = KINDS[rng.choice(len(KINDS), p=np.asarray(chances))]
    return draw_mask(RandomDraws(rng), kind, valid, frames)


def draw_mask(draws: Draws, kind: Kind, valid: int, frames: int, preserve_padding: bool = False) -> Mask:
    """Draw a mask (frames,) of one kind; frames from `valid` on are padding."""
    mask = np.full(frames, float(preserve_padding and kind != "full"), np.float32)
    if valid:
        mask[:valid] = {"segments": _segments, "full": _full, "causal": _causal, "spans": _spans}[kind](draws, valid)
    return mask


def _full(draws: Draws, n: int) -> Mask:
    return np.zeros(n, np.float32)


def _segments(draws: Draws, n: int) -> Mask:
    """Several gaps, which may overlap."""
    mask = np.ones(n, np.float32)
    count = draws.randint(1, MAX_SEGMENTS)
    for _ in range(count):
        length = draws.randint(1, max(1, n // count))
        start = draws.randint(0, n - length)
        mask[start : start + length] = 0
    return mask


def _causal(draws: Draws, n: int) -> Mask:
    """The start is preserved and continued."""
    return (np.arange(n) < draws.randint(0, n)).astype(np.float32)


def _spans(draws: Draws, n: int) -> Mask:
    """One to four separate gaps that together cover a random share; the longest is placed first."""
    total = max(1, int(draws.uniform(MIN_SHARE, 1) * n))
    count = min(draws.choice(SPAN_COUNTS, SPAN_WEIGHTS), n)
    mask = np.ones(n, np.float32)
    for length in sorted(_span_lengths([draws.random() for _ in range(count)], total), reverse=True):
        start = _find_place(draws, mask, length)
        if start is not None:
            mask[start : start + length] = 0
    return mask


def _span_lengths(shares: Sequence[float], total: int) -> list[int]:
    """Divide frames in proportion to `shares`, at least one each; the first span takes what rounding leaves."""
    lengths = [max(1, int(share / sum(shares) * total)) for share in shares]
    excess = sum(lengths) - total
    if excess < 0:
        lengths[0] -= excess
    for i, length in enumerate(lengths):
        cut = min(max(excess, 0), length - 1)
        lengths[i] -= cut
        excess -= cut
    return lengths


def _find_place(draws: Draws, mask: Mask, length: int) -> int | None:
    """Find the start of `length` preserved frames; None where there is no such place."""
    last = len(mask) - length
    for _ in range(PLACEMENTS if last >= 0 else 0):
        start = draws.randint(0, last)
        if mask[start : start + length].all():
            return start
    return next((start for start in range(last + 1) if mask[start : start + length].all()), None)
