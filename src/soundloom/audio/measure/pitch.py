"""Estimate the pitch of a clip that holds one note, from the autocorrelation of its frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.blocks import Stream

MIN_HZ, MAX_HZ = 30.0, 2500.0
SECONDS = 0.1  # of a frame
MAX_FRAMES = 64  # spread over the clip
LOUD = 0.05  # amplitude of a frame that counts, relative to the loudest
CLARITY = 0.93  # autocorrelation of a frame with a pitch
FIRST = 0.9  # share of the highest autocorrelation at which the first peak is the period
TOLERANCE = 0.5  # semitones
LEAST = 0.8  # share of frames that agree

Floats = NDArray[np.floating]


def estimate_pitch(stream: Stream, rate: int) -> tuple[float | None, float]:
    """Return the pitch in Hz, or None, and the share of loud frames that agree."""
    frames = _spread(stream, int(SECONDS * rate))
    power = (frames**2).sum(axis=1)
    frames = frames[power > LOUD**2 * power.max(initial=0.0)]
    if not len(frames):
        return None, 0.0
    found = np.array([_period(frame, rate) for frame in frames])
    found = found[found > 0]
    if not len(found):
        return None, 0.0
    middle = np.median(found)
    agree = np.abs(12 * np.log2(found / middle)) < TOLERANCE
    confidence = float(agree.sum() / len(frames))
    return (float(np.median(found[agree])) if confidence >= LEAST else None), confidence


def _spread(stream: Stream, size: int) -> Floats:
    """Frames (frames, size) of the louder channel's mix, spread over the clip."""
    every = max(1, stream.samples // size // MAX_FRAMES)
    chunks = (chunk for i, chunk in enumerate(stream.chunks(size)) if i % every == 0 and chunk.shape[1] == size)
    found = [chunk[np.argmax((chunk**2).sum(axis=1))] for chunk in chunks]
    return np.array(found, np.float64).reshape(-1, size)


def _period(frame: Floats, rate: int) -> float:
    """Pitch of a frame in Hz by the normalized square difference (McLeod and Wyvill, 2005); 0 without one."""
    n = len(frame)
    frame = frame - frame.mean()
    products = np.fft.irfft(np.abs(np.fft.rfft(frame, 2 * n)) ** 2)[:n]
    squares = np.cumsum(frame**2)
    energy = squares[::-1] + squares[-1] - np.concatenate([[0.0], squares[:-1]])
    curve = 2 * products / np.maximum(energy, 1e-20)
    first, last = int(rate / MAX_HZ), min(int(rate / MIN_HZ), n // 2)
    peaks = 1 + np.flatnonzero((curve[1:-1] > curve[:-2]) & (curve[1:-1] >= curve[2:]))
    negative = np.flatnonzero(curve < 0)
    peaks = peaks[(peaks >= max(first, negative[0] if len(negative) else n)) & (peaks <= last)]
    if not len(peaks) or curve[peaks].max() < CLARITY:
        return 0.0
    lag = peaks[np.argmax(curve[peaks] >= FIRST * curve[peaks].max())]
    a, b, c = curve[lag - 1 : lag + 2]
    return float(rate / (lag + 0.5 * (a - c) / min(a - 2 * b + c, -1e-12)))
