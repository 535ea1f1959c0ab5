"""Reduce a waveform of any length to the extremes of a few columns."""

from __future__ import annotations

import numpy as np

from soundloom.audio.blocks import Stream


def envelope(stream: Stream, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest sample of each column, (c, k) with k ≤ columns, reading block by block."""
    count = max(1, min(columns, stream.samples))
    edges = np.arange(count) * stream.samples // count  # where each column begins
    low = np.full((stream.channels, count), np.inf, np.float32)
    high = -low
    position = 0
    for block in stream.blocks():
        end = position + block.shape[1]
        first, last = np.searchsorted(edges, [position, end - 1], side="right") - 1
        starts = np.maximum(edges[first : last + 1] - position, 0)
        low[:, first : last + 1] = np.minimum(low[:, first : last + 1], np.minimum.reduceat(block, starts, axis=1))
        high[:, first : last + 1] = np.maximum(high[:, first : last + 1], np.maximum.reduceat(block, starts, axis=1))
        position = end
    return (low, high) if position else (np.zeros_like(low), np.zeros_like(low))
