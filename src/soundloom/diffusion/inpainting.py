"""Inpainting masks over latent frames, and the crossfade of generated audio into the source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

IndexRule = Literal["cover", "ceil", "round"]
Span = tuple[int, int]


def keep_mask(frames: int, ratio: int, regions: Sequence[Span], rule: IndexRule = "cover") -> np.ndarray:
    """Return (frames,), float32: 1 where a latent frame of `ratio` samples is preserved, 0 where it is generated.

    Regions are spans of samples to generate. "cover" generates every frame that a region touches. "ceil" generates
    frames whose first sample is inside (the published PyTorch package), "round" rounds to the nearest frame borders
    (the published MLX runtime).
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


def blend(source: np.ndarray, offset: int, generated: np.ndarray, regions: Sequence[Span], fade: int) -> np.ndarray:
    """Return (channels, samples): `generated` inside the regions, the source's samples, bit for bit, outside.

    `source` starts at sample `offset` of `generated`. Regions are sorted, disjoint, and cover everything outside the
    source. At each border a raised-cosine crossfade of at most `fade` samples and a quarter of the region lies inside
    the region. Beyond the source's ends, its difference from `generated` is mirrored and faded out, so that a
    continuation starts without a step.
    """
    extended = _extend_source(source, offset, generated, fade)
    out = extended.copy()
    for start, end in regions:
        length = min(fade, (end - start) // 4)
        weight = np.ones(end - start, dtype=np.float32)
        rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(length, 1))).astype(np.float32)
        if start > 0:
            weight[:length] = rise
        if end < generated.shape[1]:
            weight[len(weight) - length :] = rise[::-1]
        inside = slice(start, end)
        out[:, inside] = extended[:, inside] * (1 - weight) + generated[:, inside] * weight
    return out


def _extend_source(source: np.ndarray, offset: int, generated: np.ndarray, reach: int) -> np.ndarray:
    """Insert the source into `generated`; mirror their difference at both ends of the source, within full scale."""
    limit = max(1.0, float(np.abs(source).max(initial=0.0)))
    out = generated.copy()
    end = offset + source.shape[1]
    out[:, offset:end] = source
    before = min(reach, source.shape[1], offset)
    after = min(reach, source.shape[1], generated.shape[1] - end)
    if before:
        span = slice(offset, offset + before)
        mirrored = generated[:, offset - before : offset] + (source[:, :before] - generated[:, span])[:, ::-1]
        out[:, offset - before : offset] = mirrored.clip(-limit, limit)
    if after:
        span = slice(end - after, end)
        mirrored = generated[:, end : end + after] + (source[:, -after:] - generated[:, span])[:, ::-1]
        out[:, end : end + after] = mirrored.clip(-limit, limit)
    return out
