"""Regions of a sound: which latent frames they make new, and how new sound is joined to kept samples. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

IndexRule = Literal["cover", "ceil", "round"]
Span = tuple[int, int]


def keep_mask(frames: int, ratio: int, regions: Sequence[Span], rule: IndexRule = "cover") -> np.ndarray:
    """Return (frames,) float32, 1 where a latent frame of `ratio` samples is kept, 0 where it is made anew.

    Regions are spans of samples. "cover" renews every frame that a region touches, so that a region is filled to its
    last sample. "ceil" renews a frame when its first sample lies inside (the PyTorch package), "round" takes the
    nearest frame borders (the MLX runtime).
    """
    mask = np.ones(frames, dtype=np.float32)
    for start, end in regions:
        first, last = _frames(start, end, ratio, rule)
        mask[min(first, frames) : min(last, frames)] = 0
    return mask


def _frames(start: int, end: int, ratio: int, rule: IndexRule) -> Span:
    if rule == "cover":
        return start // ratio, math.ceil(end / ratio)
    if rule == "ceil":
        return math.ceil(start / ratio), math.ceil(end / ratio)
    return round(start / ratio), round(end / ratio)


def blend(source: np.ndarray, offset: int, made: np.ndarray, regions: Sequence[Span], fade: int) -> np.ndarray:
    """Return (channels, samples): `made` inside the regions, the source's own samples, bit for bit, outside.

    `source` starts at sample `offset` of `made`; regions are sorted, apart, and cover all that the source does not.
    Each border inside the sound gets a raised-cosine crossfade of at most `fade` samples and a quarter of its region,
    which lies inside the region. Where the source has ended, what it differs by from `made` is mirrored and faded
    out instead, so that a continuation starts without a step.
    """
    old = _with_mirrored_ends(source, offset, made, fade)
    out = old.copy()
    for start, end in regions:
        length = min(fade, (end - start) // 4)
        weight = np.ones(end - start, dtype=np.float32)
        rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(length, 1))).astype(np.float32)
        if start > 0:
            weight[:length] = rise
        if end < made.shape[1]:
            weight[len(weight) - length :] = rise[::-1]
        inside = slice(start, end)
        out[:, inside] = old[:, inside] * (1 - weight) + made[:, inside] * weight
    return out


def _with_mirrored_ends(source: np.ndarray, offset: int, made: np.ndarray, reach: int) -> np.ndarray:
    """Lay the source into `made` and mirror its difference from it about both of its ends, within full scale."""
    limit = max(1.0, float(np.abs(source).max(initial=0.0)))
    old = made.copy()
    end = offset + source.shape[1]
    old[:, offset:end] = source
    before = min(reach, source.shape[1], offset)
    after = min(reach, source.shape[1], made.shape[1] - end)
    if before:
        span = slice(offset, offset + before)
        mirrored = made[:, offset - before : offset] + (source[:, :before] - made[:, span])[:, ::-1]
        old[:, offset - before : offset] = mirrored.clip(-limit, limit)
    if after:
        span = slice(end - after, end)
        mirrored = made[:, end : end + after] + (source[:, -after:] - made[:, span])[:, ::-1]
        old[:, end : end + after] = mirrored.clip(-limit, limit)
    return old
