"""Dropout of the inputs of adapters, the same on every engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def dropout_masks(rng: np.random.Generator, inputs: Mapping[str, int], share: float) -> dict[str, NDArray[np.float32]]:
    """Return what multiplies the inputs (in,) of each layer's A: 0 for dropped ones, 1 / (1 - share) for the rest."""
    kept = {name: rng.random(size) >= share for name, size in inputs.items()}
    return {name: mask.astype(np.float32) / np.float32(1 - share) for name, mask in kept.items()}
