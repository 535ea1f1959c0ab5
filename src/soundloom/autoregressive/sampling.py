"""Sample tokens from logits, in NumPy, so that all engines sample the same tokens.

The caller supplies Exp(1) noise E: argmax(p / E) is a sample from p. Letters for axes: b clips, q codebooks, v tokens
of a codebook. Source: audiocraft, utils/utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# NumPy would load numpy.random at its first use, between sampling steps, and that import swallows Ctrl-C.
from numpy.random import Generator, Philox

from soundloom.config.musicgen.sampling import Sampling


def guide_logits(cond: np.ndarray, uncond: np.ndarray, scale: float) -> np.ndarray:
    """Apply classifier-free guidance to logits."""
    return uncond + scale * (cond - uncond)


def sample(logits: np.ndarray, noise: np.ndarray | None, sampling: Sampling) -> np.ndarray:
    """Sample tokens (b, q) from logits with Exp(1) noise (b, q, v); temperature 0 needs no noise.

    With top-p, noise applies to tokens sorted by falling probability, as in the published code.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    if noise is None:
        raise ValueError("sampling needs noise")
    if sampling.top_p == 0:
        return (filtered(logits, sampling) / noise).argmax(-1)
    probs = probabilities(logits, sampling.temperature)
    order = np.argsort(-probs, axis=-1, kind="stable")
    falling = _nucleus(np.take_along_axis(probs, order, -1), sampling.top_p)
    chosen = (falling / noise).argmax(-1)
    return np.take_along_axis(order, chosen[..., None], -1)[..., 0]


def filtered(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the probabilities (…, v) of the `top_k` likeliest tokens, float32; ties with the last one are included."""
    probs = probabilities(logits, sampling.temperature)
    if not 0 < sampling.top_k < probs.shape[-1]:
        return probs
    least = np.partition(probs, -sampling.top_k, axis=-1)[..., -sampling.top_k, None]
    top = np.where(probs >= least, probs, 0)
    return top / top.sum(-1, keepdims=True)


def exponential_noise(seeds: Sequence[int], step: int, codebooks: int, tokens: int) -> np.ndarray:
    """Return positive Exp(1) noise (b, q, v), float32, from Philox keyed by (seed, step) for each clip."""
    noise = [_generator(seed, step).standard_exponential((codebooks, tokens), np.float32) for seed in seeds]
    # NumPy returns 0 for one of 2^23 values, and 0 / 0 would select a token of probability 0.
    return np.maximum(np.stack(noise), np.finfo(np.float32).tiny)


def _generator(seed: int, step: int) -> Generator:
    return Generator(Philox(key=np.array([seed, step], dtype=np.uint64)))


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax (…, v) of logits at a temperature, float32."""
    scaled = logits.astype(np.float32) / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _nucleus(falling: np.ndarray, top_p: float) -> np.ndarray:
    """Keep the first of falling probabilities, until those before sum to more than `top_p`."""
    before = np.cumsum(falling, axis=-1) - falling
    nucleus = np.where(before > top_p, 0, falling)
    return nucleus / nucleus.sum(-1, keepdims=True)
