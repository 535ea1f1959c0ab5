"""Choosing a token from logits, in NumPy, so that every engine chooses alike.

Noise is drawn outside and divides the probabilities: argmax(p / E) with E from Exp(1) is one draw from p. Letters:
b clips, q codebooks, v tokens of a codebook. Source: audiocraft, utils/utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundloom.config.musicgen.sampling import Sampling


def guide_logits(prompted: np.ndarray, unprompted: np.ndarray, scale: float) -> np.ndarray:
    """Move logits away from what would follow without the prompt."""
    return unprompted + scale * (prompted - unprompted)


def sample(logits: np.ndarray, noise: np.ndarray | None, sampling: Sampling) -> np.ndarray:
    """Choose tokens (b, q) by logits and Exp(1) noise (b, q, v); no noise is needed at temperature 0.

    With top-p, the noise belongs to the tokens in falling order of probability, as in the published code.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    if noise is None:
        raise ValueError("sampling needs noise")
    if sampling.top_p == 0:
        return (filtered(logits, sampling) / noise).argmax(-1)
    likely = probabilities(logits, sampling.temperature)
    order = np.argsort(-likely, axis=-1, kind="stable")
    falling = _nucleus(np.take_along_axis(likely, order, -1), sampling.top_p)
    chosen = (falling / noise).argmax(-1)
    return np.take_along_axis(order, chosen[..., None], -1)[..., 0]


def filtered(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Probabilities (…, v) of the `top_k` likeliest tokens, float32; tokens that tie with the last one stay."""
    likely = probabilities(logits, sampling.temperature)
    if not 0 < sampling.top_k < likely.shape[-1]:
        return likely
    least = np.partition(likely, -sampling.top_k, axis=-1)[..., -sampling.top_k, None]
    kept = np.where(likely >= least, likely, 0)
    return kept / kept.sum(-1, keepdims=True)


def exponential_noise(seeds: Sequence[int], step: int, codebooks: int, tokens: int) -> np.ndarray:
    """Exp(1) noise (b, q, v), float32, each clip's from Philox keyed by (its seed, step)."""
    return np.stack([_draw(seed, step).standard_exponential((codebooks, tokens), np.float32) for seed in seeds])


def _draw(seed: int, step: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """The distribution (…, v) that logits stand for, float32."""
    scaled = logits.astype(np.float32) / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _nucleus(falling: np.ndarray, top_p: float) -> np.ndarray:
    """Keep falling probabilities until `top_p` of the mass is before them."""
    before = np.cumsum(falling, axis=-1) - falling
    kept = np.where(before > top_p, 0, falling)
    return kept / kept.sum(-1, keepdims=True)
