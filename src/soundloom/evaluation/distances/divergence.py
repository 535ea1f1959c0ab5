"""Kullback–Leibler divergence between the classes that a network names in two clips.

It compares a clip with its own reference clip, so both sets must have the same captions. Published figures differ in
network, pooling of windows, direction and epsilon; all are stated here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPSILON = 1e-6

Floats = NDArray[np.float64]
Pooling = Literal["mean of logits", "max of logits", "each", "first"]


def class_probabilities(logits: ArrayLike, pooling: Pooling, activation: Literal["softmax", "sigmoid"]) -> Floats:
    """Return probabilities (clips, windows, classes) of logits (clips, windows, classes); pooling leaves one window."""
    values = np.asarray(logits, np.float64)
    if pooling == "mean of logits":
        values = values.mean(axis=1, keepdims=True)
    elif pooling == "max of logits":
        values = values.max(axis=1, keepdims=True)
    elif pooling == "first":
        values = values[:, :1]
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-values))
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def kl_divergence(true: ArrayLike, other: ArrayLike, epsilon: float = EPSILON) -> Floats:
    """Return KL(true ‖ other) along the last axis: Σ t (ln t - ln(o + epsilon)); classes with t = 0 add nothing."""
    t, o = np.asarray(true, np.float64), np.asarray(other, np.float64)
    logs = np.log(np.where(t > 0, t, 1.0)) - np.log(o + epsilon)
    return (t * logs).sum(axis=-1)
