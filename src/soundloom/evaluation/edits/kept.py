"""Check which samples an edit changed: none outside its regions, and those at their edges.

Positions are samples of the edited clip. Regions are half-open spans (start, end).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import AudioError

Span = tuple[int, int]
Sound = NDArray[np.floating]

MADE_NOTHING = 20.0  # dB: a region that is closer to its source was hardly edited


@dataclass(frozen=True)
class Kept:
    """How an edit treated its source.

    `changed_samples` counts samples of all channels outside the regions that differ from the source, and
    `kept_samples` the positions there. `largest_difference` is that of those samples. `region_snr` is the power of the
    source over that of the difference inside the regions, in dB: inf where nothing changed, NaN without regions.
    """

    changed_samples: int
    kept_samples: int
    largest_difference: float
    region_snr: float

    @property
    def is_edited(self) -> bool:
        """Whether the regions differ audibly from the source."""
        return self.region_snr <= MADE_NOTHING


@dataclass(frozen=True)
class Honored:
    """Distances in samples from the requested edges of a region to the first and the last changed sample.

    Both are 0 or more where all changes are inside; both are None where nothing changed.
    """

    start: int | None
    end: int | None

    def is_within(self, crossfade: int) -> bool:
        """Whether changes begin and end inside the region, at most `crossfade` samples from its edges."""
        return all(distance is not None and 0 <= distance <= crossfade for distance in (self.start, self.end))


def measure_kept(source: Sound, edited: Sound, regions: Sequence[Span], offset: int = 0) -> Kept:
    """Compare an edited clip (channels, samples) with its source, which begins at sample `offset` of the edited one.

    A sample that only one of them has counts as changed. Raises AudioError for unequal channels.
    """
    before, known = _aligned(source, edited, offset)
    inside = inside_regions(before.shape[1], regions)
    after = np.pad(edited, ((0, 0), (0, before.shape[1] - edited.shape[1])))
    changed = _changed(before, after, known, edited.shape[1])
    difference = np.abs(after.astype(np.float64) - before)[:, ~inside]
    largest = float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))
    snr = _region_snr(before[:, inside & known], after[:, inside & known])
    return Kept(int(changed[:, ~inside].sum()), int((~inside).sum()), largest, snr)


def measure_honored(
    source: Sound, edited: Sound, region: Span, others: Sequence[Span] = (), offset: int = 0
) -> Honored:
    """Locate the first and last change against a region; changes inside the `others` are not looked at.

    Raises AudioError for unequal channels.
    """
    before, known = _aligned(source, edited, offset)
    after = np.pad(edited, ((0, 0), (0, before.shape[1] - edited.shape[1])))
    changed = _changed(before, after, known, edited.shape[1]).any(axis=0)
    places = np.flatnonzero(changed & ~inside_regions(before.shape[1], others))
    if not places.size:
        return Honored(None, None)
    start, end = region
    return Honored(int(places[0]) - start, end - 1 - int(places[-1]))


def inside_regions(samples: int, regions: Sequence[Span]) -> NDArray[np.bool_]:
    """Return which of the samples (n,) are inside a region."""
    inside = np.zeros(samples, bool)
    for start, end in regions:
        inside[max(0, start) : max(0, end)] = True
    return inside


def _aligned(source: Sound, edited: Sound, offset: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the source with zeros around it, as long as both clips need, and where it has samples."""
    if len(source) != len(edited):
        raise AudioError(f"the source has {len(source)} channels and the edited clip {len(edited)}")
    end = offset + source.shape[1]
    length = max(end, edited.shape[1])
    known = np.zeros(length, bool)
    known[offset:end] = True
    return np.pad(source.astype(np.float64), ((0, 0), (offset, length - end))), known


def _changed(before: Sound, after: Sound, known: NDArray[np.bool_], samples: int) -> NDArray[np.bool_]:
    """Return which samples (c, n) differ, or are missing in one of the clips."""
    missing = ~known | (np.arange(len(known)) >= samples)
    return (before != after) | missing


def _region_snr(before: Sound, after: Sound) -> float:
    if not before.size:
        return float("nan")
    power, error = float(np.square(before).sum()), float(np.square(after - before).sum())
    if not np.isfinite(error):
        return -float("inf")
    if error == 0:
        return float("inf")
    return 10 * float(np.log10(power / error)) if power else -float("inf")
