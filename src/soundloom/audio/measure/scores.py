"""Small networks that score candidates of a measurement; their weights are fitted by benchmarks/fit_measurement.py."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent

Floats = NDArray[np.floating]


@lru_cache(maxsize=4)
def _weights(name: str) -> dict[str, Floats]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key].astype(np.float64) for key in file.files}


def scores(name: str, features: Floats) -> Floats:
    """Scores (n, outputs) of features (n, f), relative to 0 for "none of them"."""
    weights = _weights(name)
    x = np.clip((features - weights["mean"]) / weights["deviation"], -8, 8)
    for layer in range(len([key for key in weights if key.startswith("w")]) - 1):
        x = np.maximum(x @ weights[f"w{layer}"] + weights[f"b{layer}"], 0)
        last = layer + 1
    return np.asarray(x @ weights[f"w{last}"] + weights[f"b{last}"])


def probabilities(found: Floats) -> Floats:
    """Probability of each candidate with these scores; what is missing to 1 is the probability of none."""
    highest = max(float(found.max()), 0.0)
    exponents = np.exp(found - highest)
    return np.asarray(exponents / (exponents.sum() + np.exp(-highest)))
