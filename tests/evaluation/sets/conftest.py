"""Small sounds in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile


def write_noise(path: Path, seconds: float = 0.5, rate: int = 8000, seed: int = 0, channels: int = 1, **how: Any):
    """Write noise and return it as float32 (c, n)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.Philox(seed))
    audio = rng.uniform(-0.5, 0.5, (channels, round(seconds * rate))).astype(np.float32)
    soundfile.write(path, audio.T, rate, **({"subtype": "FLOAT"} if path.suffix == ".wav" else {}) | how)
    return audio


@pytest.fixture
def noise():
    return write_noise
