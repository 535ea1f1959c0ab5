"""Long sounds in windows of the length that a model was trained on, overlapping, joined where they are quietest.

Positions of windows are frames of the codec. A window begins with what the one before it made of the frames that both
have, so that the music goes on; where the two are joined is then a matter of samples alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from soundloom.errors import RequestError

JOIN_SECONDS = 0.02  # of the crossfade


@dataclass(frozen=True)
class Window:
    """Frames [start, stop) of a sound, of which the first `known` are those that the window before made."""

    start: int
    stop: int
    known: int


def plan_windows(frames: int, size: int, longest: int, overlap: float) -> list[Window]:
    """Cut so many frames into windows of `size`; all have it, but the only one of a short sound.

    `overlap` is the share of a window that the next one has too; the last two may share more.

    Raises RequestError for windows that are longer than the model can hear, or too short to overlap.
    """
    if not 2 <= size <= longest:
        raise RequestError(f"a window has 2 to {longest} frames, found {size}", "leave the window at its default")
    if frames <= size:
        return [Window(0, frames, 0)]
    hop = size - max(round(overlap * size), 1)
    starts = [*range(0, frames - size, hop), frames - size]
    later = [Window(start, start + size, before + size - start) for before, start in pairwise(starts)]
    return [Window(0, size, 0), *later]


def quietest(a: np.ndarray, b: np.ndarray, fade: int) -> int:
    """Where to begin a crossfade of `fade` samples from a to b, both (c, n): where they are weakest together."""
    energy = np.square(a, dtype=np.float64).sum(0) + np.square(b, dtype=np.float64).sum(0)
    sums = np.concatenate([[0.0], np.cumsum(energy)])
    return int(np.argmin(sums[fade:] - sums[:-fade])) if energy.size > fade else 0


class Joined:
    """A sound (c, n) that grows by windows. Only the part that may still be joined elsewhere waits."""

    def __init__(self, channels: int, samples: int, rate: int) -> None:
        self.sound = np.zeros((channels, samples), np.float32)
        self.fade = max(round(JOIN_SECONDS * rate), 1)
        self.filled = 0

    def add(self, start: int, piece: np.ndarray) -> None:
        """Put a piece (c, m) at a sample, over the end of what is there."""
        piece = piece[:, : self.sound.shape[1] - start]
        shared = self.filled - start
        if shared > 0:
            old = self.sound[:, start : self.filled]
            begin, fade = quietest(old, piece[:, :shared], self.fade), min(self.fade, shared)
            weight = np.concatenate([np.zeros(begin), (np.arange(fade) + 0.5) / fade]).astype(np.float32)
            weight = np.pad(weight, (0, shared - len(weight)), constant_values=1)
            piece = np.concatenate([old + weight * (piece[:, :shared] - old), piece[:, shared:]], axis=1)
        self.sound[:, start : start + piece.shape[1]] = piece
        self.filled = max(self.filled, start + piece.shape[1])
