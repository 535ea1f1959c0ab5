"""Split long audio into overlapping windows of the trained length, and join the results where they are quietest.

Positions of windows are frames of the codec. A window starts with the frames that the previous window generated in
their overlap, so that the music continues; the two are joined in samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from soundloom.errors import RequestError

JOIN_SECONDS = 0.02  # of the crossfade


@dataclass(frozen=True)
class AudioWindow:
    """Frames [start, stop), of which the previous window generates the first `known`."""

    start: int
    stop: int
    known: int


def plan_windows(frames: int, size: int, longest: int, overlap: float) -> list[AudioWindow]:
    """Split `frames` frames into windows of `size`; a single window may be shorter.

    `overlap` is the share of a window that the next one repeats; the last two may overlap more. Raises RequestError
    for windows that are longer than the model's limit, or too short to overlap.
    """
    if not 2 <= size <= longest:
        raise RequestError(f"a window has 2 to {longest} frames, found {size}", "leave the window at its default")
    if frames <= size:
        return [AudioWindow(0, frames, 0)]
    hop = size - max(round(overlap * size), 1)
    starts = [*range(0, frames - size, hop), frames - size]
    later = [AudioWindow(start, start + size, before + size - start) for before, start in pairwise(starts)]
    return [AudioWindow(0, size, 0), *later]


def quietest(a: np.ndarray, b: np.ndarray, fade: int) -> int:
    """Return the start of a crossfade of `fade` samples from a to b, both (c, n), at their lowest joint energy."""
    energy = np.square(a, dtype=np.float64).sum(0) + np.square(b, dtype=np.float64).sum(0)
    sums = np.concatenate([[0.0], np.cumsum(energy)])
    return int(np.argmin(sums[fade:] - sums[:-fade])) if energy.size > fade else 0


class Joined:
    """Audio (c, n) that grows window by window."""

    def __init__(self, channels: int, samples: int, rate: int) -> None:
        self.audio = np.zeros((channels, samples), np.float32)
        self.fade = max(round(JOIN_SECONDS * rate), 1)
        self.filled = 0

    def add(self, start: int, piece: np.ndarray) -> None:
        """Add a piece (c, m) at a sample, with a crossfade over the end of the audio so far."""
        piece = piece[:, : self.audio.shape[1] - start]
        shared = self.filled - start
        if shared > 0:
            old = self.audio[:, start : self.filled]
            begin, fade = quietest(old, piece[:, :shared], self.fade), min(self.fade, shared)
            weight = np.concatenate([np.zeros(begin), (np.arange(fade) + 0.5) / fade]).astype(np.float32)
            weight = np.pad(weight, (0, shared - len(weight)), constant_values=1)
            piece = np.concatenate([old + weight * (piece[:, :shared] - old), piece[:, shared:]], axis=1)
        self.audio[:, start : start + piece.shape[1]] = piece
        self.filled = max(self.filled, start + piece.shape[1])
