"""Embed edited regions: which windows belong to a region, and how well it fits its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.edits.kept import Span
from soundloom.evaluation.statistics.intervals import Interval, percentiles, resample_indices

CONTEXT = 5.0  # seconds before and after a region

Floats = NDArray[np.floating]


def overlaps(starts: NDArray[np.integer], window: int, region: Span) -> NDArray[np.bool_]:
    """Return which windows, of `window` samples from `starts` (b,), overlap a region by half of a window or more."""
    first, last = region
    inside = np.minimum(starts + window, last) - np.maximum(starts, first)
    return np.asarray(2 * inside >= window)


def region_windows(samples: int, window: int, region: Span) -> list[Span]:
    """Place windows in a clip of `samples`, each of which overlaps a region by half or more.

    Long regions hold windows every half window. A region shorter than a window gets one around its middle, at most
    twice as long as the region: a longer one would mostly embed what was not edited.
    """
    first, last = max(0, region[0]), min(samples, region[1])
    length, region_length = min(window, 2 * (last - first), samples), last - first
    if length <= 0:
        return []
    if region_length < window:
        start = min(max(0, (first + last - length) // 2), samples - length)
        return [(start, start + length)]
    hop = max(1, window // 2)
    spare = (region_length - window) % hop
    return [(start, start + window) for start in range(first + spare // 2, last - window + 1, hop)]


def context_spans(samples: int, rate: int, region: Span, seconds: float = CONTEXT) -> list[Span]:
    """Return the spans of up to `seconds` before and after a region."""
    reach = round(seconds * rate)
    spans = ((max(0, region[0] - reach), region[0]), (region[1], min(samples, region[1] + reach)))
    return [(start, end) for start, end in spans if end > start]


@dataclass(frozen=True)
class ContextScore:
    """How well regions fit their surroundings: 0 as the same places of other clips, 1 as the real ones.

    `score` compares means over sources, and is not limited to 0 … 1. It is NaN where real regions fit no better than
    foreign ones, so that there is no scale. The cosines (sources,) are of regions and their surroundings.
    """

    score: float
    interval: Interval | None
    generated: tuple[float, ...]
    real: tuple[float, ...]
    foreign: tuple[float, ...]


def context_score(regions: Sequence[Floats], seed: int = 0) -> ContextScore:
    """Score the regions of each source by their cosine with their surroundings.

    For each source, vectors (regions, 4, d): of the generated region, the real one, a foreign one, the surroundings.
    """
    cosines = np.stack([_cosine(rows[:, :3], rows[:, 3:]).mean(axis=0) for rows in regions], axis=1)
    draws = cosines[:, resample_indices(cosines.shape[1], seed=seed)].mean(axis=2)
    scores = _position(draws)
    is_scale = np.isfinite(scores).all()  # else the interval has no bounds
    rows = (tuple(row.tolist()) for row in cosines)
    return ContextScore(float(_position(cosines.mean(axis=1))), percentiles(scores) if is_scale else None, *rows)


def _position(cosines: Floats) -> Floats:
    """Return where the generated cosines lie between the foreign and the real ones (3, …)."""
    generated, real, foreign = cosines
    scale = real - foreign
    return np.where(scale > 1e-6, (generated - foreign) / np.where(scale > 1e-6, scale, 1.0), np.nan)


def _cosine(a: Floats, b: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / np.maximum(norms, 1e-12))
