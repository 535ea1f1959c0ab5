"""The delay pattern, which maps the frames of each codebook to positions of the sequence.

Position s of a codebook with delay d has frame s - 1 - d, or the special token where the clip has no such frame.
Letters for axes: b clips, q codebooks, t frames, s positions. Source: audiocraft, modules/codebooks_patterns.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def sequence_length(frames: int, delays: Sequence[int]) -> int:
    """Return the number of positions of a clip of `frames` frames."""
    return frames + 1 + max(delays)


def real_slots(frames: int, delays: Sequence[int]) -> np.ndarray:
    """Return (q, s), bool: True at the slots that have a frame."""
    frame = _frame_of_slot(frames, delays)
    return (frame >= 0) & (frame < frames)


def build(tokens: np.ndarray, delays: Sequence[int], special: int) -> np.ndarray:
    """Arrange tokens (b, q, t) as a sequence (b, q, s)."""
    frames = tokens.shape[-1]
    slot = np.clip(_frame_of_slot(frames, delays), 0, max(frames - 1, 0))
    delayed = np.take_along_axis(tokens, slot[None], axis=-1)
    return np.where(real_slots(frames, delays), delayed, special)


def revert(sequence: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """Return the tokens (b, q, t, …) of a sequence (b, q, s, …)."""
    frames = sequence.shape[2] - 1 - max(delays)
    return np.stack([sequence[:, q, 1 + d : 1 + d + frames] for q, d in enumerate(delays)], axis=1)


def _frame_of_slot(frames: int, delays: Sequence[int]) -> np.ndarray:
    return np.arange(sequence_length(frames, delays)) - 1 - np.asarray(delays)[:, None]
