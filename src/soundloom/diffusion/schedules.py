"""Time schedules from 1 (noise) to 0 (data), warped by the published distribution shifts.

NumPy in float64; lengths are in latent frames. Source: stable-audio-3, inference/distribution_shift.py and
inference/sampling.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from soundloom.config.stable_audio.model import ShiftConfig

Start = Literal["scaled", "published"]


def schedule(
    steps: int,
    *,
    level: float = 1.0,
    shift: ShiftConfig | None = None,
    lengths: float | Sequence[float] = 1.0,
    start: Start = "scaled",
) -> np.ndarray:
    """Return times (steps + 1,), or (items, steps + 1) if the shift depends on `lengths`, one per item.

    `level` is the start time, below 1 for variations of a source. "scaled" warps the ramp from 1 to 0 and scales it by
    the level, so times always fall. "published" warps a ramp from the level and resets its first entry, so the second
    time may exceed the first; it also pairs lengths with points when their numbers are equal.
    """
    per_item = not np.isscalar(lengths)
    length = np.maximum(np.asarray(lengths, dtype=np.float64), 1)
    ramp = np.linspace(1.0 if start == "scaled" else level, 0.0, steps + 1)
    if shift is None or shift.type == "none":
        warped = ramp
    else:
        paired = start == "published" and per_item and len(length) == len(ramp)
        warped = warp(ramp, length[:, None] if per_item and not paired else length, shift)
    if start == "scaled":
        warped = warped * level
    warped[..., 0] = level
    return warped


def warp(t: np.ndarray, length: np.ndarray, shift: ShiftConfig) -> np.ndarray:
    """Warp times t in [0, 1] by the shift, which maps 0 and 1 to themselves; `length` broadcasts against t."""
    return {"none": _identity, "flux": _flux, "full": _full, "logsnr": _logsnr}[shift.type](t, length, shift)


def _identity(t: np.ndarray, length: np.ndarray, shift: ShiftConfig) -> np.ndarray:
    return t + 0.0 * length


def _flux(t: np.ndarray, length: np.ndarray, shift: ShiftConfig) -> np.ndarray:
    """Stretch by alpha, interpolated linearly in log alpha over log length."""
    low, high = np.log(shift.min_length), np.log(shift.max_length)
    fraction = (np.log(np.clip(length, shift.min_length, shift.max_length)) - low) / ((high - low) or 1e-8)
    ends = np.log(np.maximum([shift.alpha_min, shift.alpha_max], 1e-8))
    return stretch(t, np.exp(ends[0] + fraction * (ends[1] - ends[0])))


def _full(t: np.ndarray, length: np.ndarray, shift: ShiftConfig) -> np.ndarray:
    """Stretch by exp(mu), mu linear in length; `use_sine` applies a quarter sine after it."""
    fraction = (np.clip(length, shift.min_length, shift.max_length) - shift.min_length) / (
        shift.max_length - shift.min_length
    )
    warped = stretch(t, np.exp(shift.base_shift + (shift.max_shift - shift.base_shift) * fraction))
    return np.sin(warped * np.pi / 2) if shift.use_sine else warped


def stretch(t: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return alpha t / (1 + (alpha - 1) t), which moves times towards noise for alpha above 1."""
    return alpha * t / (1 + (alpha - 1) * t)


def _logsnr(t: np.ndarray, length: np.ndarray, shift: ShiftConfig) -> np.ndarray:
    """Space times evenly in log SNR; the noisy end depends on the length by `rate`."""
    noisiest = shift.anchor_logsnr - shift.rate * np.log2(length / shift.anchor_length)
    logsnr = shift.logsnr_end - t * (shift.logsnr_end - noisiest)
    warped = 1 / (1 + np.exp(logsnr))
    return np.where(t <= 0, 0.0, np.where(t >= 1, 1.0, warped))
