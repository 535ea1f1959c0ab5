"""Compare a tempo with the one that was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

TOLERANCE = 0.04
MULTIPLES = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)


@dataclass(frozen=True)
class TempoScore:
    """`accuracy1` is within 4 % of the tempo, `accuracy2` of it or its double, half, triple or third.

    `octave_error` is the base-2 logarithm of found over asked; NaN without a tempo, which also counts as wrong.
    """

    accuracy1: bool
    accuracy2: bool
    octave_error: float

    @property
    def is_multiple(self) -> bool:
        """Whether the tempo is wrong by a factor of 2 or 3."""
        return self.accuracy2 and not self.accuracy1


def score_tempo(asked: float, found: float | None) -> TempoScore:
    """Score a tempo in BPM; None, 0 and NaN mean that none was found.

    Source: Gouyon et al. 2006, "An experimental comparison of audio tempo induction algorithms".
    """
    if found is None or not found > 0:
        return TempoScore(False, False, math.nan)
    near = [abs(found / (asked * multiple) - 1) <= TOLERANCE for multiple in MULTIPLES]
    return TempoScore(near[0], any(near), math.log2(found / asked))
