"""An embedder without weights: statistics of a log-mel spectrogram under a fixed random projection.

It needs NumPy alone and is always there. It hears level, spectrum, and how both vary within a second; it knows no
classes of sound. Its distances rank damage to audio (`ladder`), but do not compare with those of a network.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

import numpy as np

from soundloom.audio.mel import mel_filter_bank
from soundloom.evaluation.embedders.base import EmbedderInfo, Floats, check_windows

NAME = "log-mel"
RATE = 44100  # Hz
WINDOW = 44100  # samples, 1 s
FRAME, HOP = 2048, 1024  # samples
BANDS = 64
FLOOR = 1e-10  # of the power; a full-scale sine has 0.25
POOLED = ("mean", "deviation", "mean absolute difference of frames")
DIMENSIONS = 64
SEED = 20260


class LogMelEmbedder:
    """Windows of 1 s at 44.1 kHz to 64 dimensions; see the module."""

    def __init__(self) -> None:
        self.info = EmbedderInfo(NAME, RATE, WINDOW, DIMENSIONS, _constants_hash(), license="Apache-2.0")

    def embed(self, windows: Floats) -> Floats:
        """Embed windows (b, 44100) to vectors (b, 64)."""
        vectors = [_pooled(window) @ _projection() for window in check_windows(self.info, windows)]
        return np.array(vectors, np.float32).reshape(len(windows), DIMENSIONS)


def _pooled(window: Floats) -> np.ndarray:
    """Return the statistics (3 * bands,) of one window (n,) over its frames, in units of 10 dB."""
    frames = np.lib.stride_tricks.sliding_window_view(window, FRAME)[::HOP]
    taper, filters = _constants()
    power = np.abs(np.fft.rfft(frames * taper, axis=1)) ** 2
    levels = np.log10(np.maximum(power @ filters, FLOOR))
    return np.concatenate([levels.mean(axis=0), levels.std(axis=0), np.abs(np.diff(levels, axis=0)).mean(axis=0)])


@lru_cache(maxsize=1)
def _constants() -> tuple[np.ndarray, np.ndarray]:
    taper = np.hanning(FRAME)
    return taper / taper.sum(), mel_filter_bank(BANDS, FRAME, RATE).T


@lru_cache(maxsize=1)
def _projection() -> np.ndarray:
    """Return the projection (3 * bands, dimensions); it keeps squared lengths on average."""
    draw = np.random.Generator(np.random.Philox(SEED)).standard_normal((len(POOLED) * BANDS, DIMENSIONS))
    return np.asarray(draw / np.sqrt(DIMENSIONS))


def _constants_hash() -> str:
    constants = [NAME, RATE, WINDOW, FRAME, HOP, BANDS, FLOOR, POOLED, DIMENSIONS, SEED]
    return hashlib.sha256(json.dumps(constants).encode()).hexdigest()
