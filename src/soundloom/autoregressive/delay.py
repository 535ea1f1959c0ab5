"""The delay pattern: which frame of which codebook stands at a position of the sequence.

Position 0 holds no frame. Codebook q with delay d holds frame s - 1 - d at position s; where that is no frame of the
clip, it holds the special token. Letters: b clips, q codebooks, t frames, s positions. Source: audiocraft,
modules/codebooks_patterns.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def sequence_length(frames: int, delays: Sequence[int]) -> int:
    """Positions that a clip of so many frames takes."""
    return frames + 1 + max(delays)


def real_slots(frames: int, delays: Sequence[int]) -> np.ndarray:
    """Mark the slots (q, s) that hold a frame."""
    frame = _frame_of_slot(frames, delays)
    return (frame >= 0) & (frame < frames)


def build(codes: np.ndarray, delays: Sequence[int], special: int) -> np.ndarray:
    """Lay codes (b, q, t) out as a sequence (b, q, s)."""
    frames = codes.shape[-1]
    slot = np.clip(_frame_of_slot(frames, delays), 0, max(frames - 1, 0))
    laid = np.take_along_axis(codes, slot[None], axis=-1)
    return np.where(real_slots(frames, delays), laid, special)


def revert(sequence: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """Read the codes (b, q, t, …) out of a sequence (b, q, s, …)."""
    frames = sequence.shape[2] - 1 - max(delays)
    return np.stack([sequence[:, q, 1 + d : 1 + d + frames] for q, d in enumerate(delays)], axis=1)


def _frame_of_slot(frames: int, delays: Sequence[int]) -> np.ndarray:
    return np.arange(sequence_length(frames, delays)) - 1 - np.asarray(delays)[:, None]
