"""Classifier-free guidance of velocities.

Letters for axes: b batch, c latent channels, t latent frames. Sources: Ho and Salimans 2022; Sadat et al. 2024
(projection, norm threshold); Lin et al. 2023 (rescale); Kynkäänniemi et al. 2024 (interval); stable-audio-3,
models/dit.py for their combination. Only plain operators, so that arrays may be any engine's.
"""

from __future__ import annotations

from typing import Any

from soundloom.config.stable_audio.request import Guidance

Array = Any  # torch.Tensor, mlx.core.array or numpy.ndarray
EPS = 1e-8


def guide(x: Array, t: Any, cond: Array, uncond: Array, guidance: Guidance, valid: Array | None = None) -> Array:
    """Combine two velocities of x (b, c, t) at time t, a float or (b, 1, 1); all float32.

    `valid` (b, 1, t), one at real frames, excludes padding from the norms and the projection.
    """
    clean = x - t * cond
    diff = clean - (x - t * uncond)
    if guidance.norm_threshold > 0:
        diff = diff * _at_most_one(guidance.norm_threshold / _norm(_masked(diff, valid)))
    if guidance.apg != 0:
        direction = _masked(clean, valid)
        direction = direction / _norm(direction)
        orthogonal = diff - (diff * direction).sum(axis=(1, 2), keepdims=True) * direction
        diff = guidance.apg * _masked(orthogonal, valid) + (1 - guidance.apg) * diff
    guided = (x - clean - (guidance.scale - 1) * diff) / t
    if guidance.rescale == 0:
        return guided
    return guidance.rescale * guided * (_std(cond) / _std(guided)) + (1 - guidance.rescale) * guided


def is_guided(t: Any, guidance: Guidance) -> bool:
    """Return whether a step at time t needs both velocities; the first item decides for the batch."""
    low, high = guidance.interval
    first = t if isinstance(t, float) else float(t[0, 0, 0])
    return guidance.scale != 1 and low <= first <= high


def _masked(x: Array, valid: Array | None) -> Array:
    return x if valid is None else x * valid


def _norm(x: Array) -> Array:
    """Return the Euclidean norm over channels and frames, (b, 1, 1), never zero."""
    return (x * x).sum(axis=(1, 2), keepdims=True) ** 0.5 + EPS


def _at_most_one(x: Array) -> Array:
    return (x + 1 - abs(x - 1)) / 2


def _std(x: Array) -> Array:
    """Return the unbiased standard deviation over channels, (b, 1, t)."""
    channels = x.shape[1]
    centered = x - x.mean(axis=1, keepdims=True)
    return ((centered * centered).sum(axis=1, keepdims=True) / (channels - 1)) ** 0.5
