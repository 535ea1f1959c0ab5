"""Minibatch optimal transport: give each clip of a batch the noise that is near it, for straighter paths.

Source: stable-audio-3, training/diffusion.py, after Lan et al., "High fidelity text-guided music editing via
single-stage flow matching" (2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 20  # of Sinkhorn's algorithm


def couple(latents: NDArray[np.float32], noise: NDArray[np.float32], rounds: int = ROUNDS) -> NDArray[np.int64]:
    """Return which noise (b,) each clip gets; both arrays are (b, c, t).

    Sinkhorn's algorithm turns squared distances into a soft assignment. Each clip in turn then takes the noise that it
    prefers among those that are left.
    """
    data, drawn = (array.reshape(len(array), -1).astype(np.float64) for array in (latents, noise))
    cost = np.square(data).sum(1)[:, None] + np.square(drawn).sum(1) - 2 * data @ drawn.T
    log_p = -cost / cost.mean()
    for _ in range(rounds):
        log_p = log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)
        log_p = log_p - np.logaddexp.reduce(log_p, axis=0, keepdims=True)
    chosen = np.empty(len(log_p), np.int64)
    for item in range(len(log_p)):
        chosen[item] = log_p[item].argmax()
        log_p[:, chosen[item]] = -np.inf
    return chosen
