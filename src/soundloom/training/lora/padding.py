"""Masks (b, n) of the real positions of padded clips: brought to the rate of latents, and extended by silence.

Source: stable-audio-3, training/utils.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def valid_mask(lengths: NDArray[np.int64], frames: int) -> Mask:
    """Return (b, frames): the first `lengths` (b,) positions of each clip."""
    return np.arange(frames) < np.asarray(lengths)[:, None]


def resize_mask(mask: Mask, length: int) -> Mask:
    """Return the mask at another rate, as (b, length); a position that is real in part is real."""
    ends = np.asarray(mask, bool).sum(axis=1)
    # In float32, as published: the quotient of whole numbers may round up to the next frame.
    scaled = np.ceil(ends.astype(np.float32) * np.float32(length) / np.float32(mask.shape[1]))
    return valid_mask(np.minimum(scaled.astype(np.int64), length), length)


def extend_lengths(lengths: NDArray[np.int64], extension: NDArray, frames: int) -> NDArray[np.int64]:
    """Return lengths (b,) that whole frames of `extension` (b,) are added to, at most `frames`."""
    return np.minimum(np.asarray(lengths) + np.floor(extension).astype(np.int64), frames)
