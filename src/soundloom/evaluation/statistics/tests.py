"""Tests of paired differences, exact where the number of pairs allows it. All are two-sided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundloom.evaluation.statistics.intervals import Interval, percentiles, ranks, resample_indices

FLIPS = 10_000
SLACK = 1e-12  # of means that are equal but for rounding
EXACT_PAIRS = 50  # up to this many, Wilcoxon's distribution is counted out
BLOCK = 1024  # sign flips at once
EQUIVALENT_PAIRS = 8  # with fewer, bootstrap intervals are too narrow: those of 5 pairs hold 79 % instead of 90


@dataclass(frozen=True)
class Test:
    """A statistic and its p-value."""

    __test__ = False  # not a test class of pytest

    statistic: float
    p: float


def sign_flip(differences: ArrayLike, signs: NDArray | None = None, seed: int = 0) -> Test:
    """Test whether the mean of paired differences (n,) is 0, by flips of their signs (flips, n).

    Draws 10,000 flips by default. The mean itself counts as one of them.
    """
    values = np.asarray(differences, np.float64)
    found = abs(values.mean())
    rng = np.random.Generator(np.random.Philox(key=seed))
    flips, extreme = (FLIPS if signs is None else len(signs)), 0
    for start in range(0, flips, BLOCK):
        count = min(BLOCK, flips - start)
        drawn = rng.choice((-1.0, 1.0), (count, len(values))) if signs is None else signs[start : start + count]
        extreme += int((np.abs((drawn * values).mean(axis=1)) >= found - SLACK).sum())
    return Test(float(values.mean()), (1 + extreme) / (1 + flips))


def wilcoxon(differences: ArrayLike) -> Test:
    """Wilcoxon's signed-rank test of paired differences; those of 0 are left out.

    The statistic is the smaller sum of ranks. Up to 50 differences without ties the p-value is exact; others use the
    normal distribution, corrected for ties. Without any difference p is 1.
    """
    given = np.asarray(differences, np.float64)
    values = given[given != 0]
    count = len(values)
    if not count:
        return Test(0.0, 1.0)
    ranked = ranks(np.abs(values))
    positive = float(ranked[values > 0].sum())
    statistic = min(positive, count * (count + 1) / 2 - positive)
    _, ties = np.unique(np.abs(values), return_counts=True)
    if count <= EXACT_PAIRS and len(given) == count and (ties == 1).all():
        ways = _rank_sums(count)
        return Test(statistic, min(1.0, 2 * float(ways[: int(statistic) + 1].sum()) / 2.0**count))
    variance = count * (count + 1) * (2 * count + 1) / 24 - float((ties**3 - ties).sum()) / 48
    z = (statistic - count * (count + 1) / 4) / math.sqrt(variance)
    return Test(statistic, min(1.0, 2 * NormalDist().cdf(z)))


def _rank_sums(count: int) -> NDArray[np.float64]:
    """Count the subsets of 1 … count by their sum."""
    ways = np.zeros(count * (count + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, count + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    return ways


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact p-value of McNemar's test, from counts of prompts that only A or only B got right."""
    disagree = only_a + only_b
    if not disagree:
        return 1.0
    tail = sum(math.comb(disagree, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**disagree)


@dataclass(frozen=True)
class Equivalence:
    """The 90 % interval of a mean difference of `count` pairs, and whether it lies within the margin on both sides."""

    interval: Interval
    margin: float
    count: int

    @property
    def equivalent(self) -> bool:
        is_within = -self.margin < self.interval[0] and self.interval[1] < self.margin
        return is_within and self.count >= EQUIVALENT_PAIRS


def tost(differences: Sequence[float], margin: float, seed: int = 0) -> Equivalence:
    """Test equivalence by two one-sided tests at 5 %: the 90 % bootstrap interval must lie within ±margin."""
    values = np.asarray(differences, np.float64)
    means = values[resample_indices(len(values), seed=seed)].mean(axis=1)
    return Equivalence(percentiles(means, 0.90), margin, len(values))
