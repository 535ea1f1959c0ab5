"""Estimate the pitch of a clip that holds one note, from the autocorrelation of its frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.blocks import Stream

MIN_HZ, MAX_HZ = 30.0, 10_000.0
SECONDS = 0.1  # of a frame
MAX_FRAMES = 64  # spread over the clip
FINE_RATE = 200_000  # Hz, at least, to which autocorrelations are interpolated
LOUD = 0.05  # amplitude of a frame that counts, relative to the loudest
CLARITY = 0.93  # lowest autocorrelation of a frame with a pitch
FIRST = 0.94  # share of the highest autocorrelation from which the first peak is the period
FUNDAMENTAL = 10 ** (-35 / 10)  # lowest power of the fundamental relative to the strongest partial
TOLERANCE = 0.5  # semitones
LEAST = 0.88  # share of frames that agree

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
    agree = np.abs(12 * np.log2(found / np.median(found))) < TOLERANCE
    confidence = float(agree.sum() / len(frames))
    return (float(np.median(found[agree])) if confidence >= LEAST else None), confidence


def _spread(stream: Stream, size: int) -> Floats:
    """Frames (frames, size) of the loudest channel, spread over the clip."""
    every = max(1, stream.samples // size // MAX_FRAMES)
    chunks = (chunk for i, chunk in enumerate(stream.chunks(size)) if i % every == 0 and chunk.shape[1] == size)
    found = [chunk[np.argmax((chunk**2).sum(axis=1))] for chunk in chunks]
    return np.array(found, np.float64).reshape(-1, size)


def _period(frame: Floats, rate: int) -> float:
    """Pitch of a frame in Hz by the normalized square difference (McLeod and Wyvill, 2005); 0 without one."""
    n = len(frame)
    frame = frame - frame.mean()
    power = np.abs(np.fft.rfft(frame, 2 * n)) ** 2
    fine = -(-FINE_RATE // rate)
    squares = np.cumsum(frame**2)
    energy = squares[::-1] + squares[-1] - np.concatenate([[0.0], squares[:-1]])
    lags = np.arange(n // 2 * fine)
    products = fine * np.fft.irfft(power, 2 * n * fine)[: len(lags)]
    curve = 2 * products / np.maximum(np.interp(lags / fine, np.arange(n), energy), 1e-20)
    peaks = 1 + np.flatnonzero((curve[1:-1] > curve[:-2]) & (curve[1:-1] >= curve[2:]))
    below = int(np.argmax(curve < 0))  # the peak at lag 0 ends here
    shortest, longest = rate * fine / MAX_HZ, rate * fine / MIN_HZ
    peaks = peaks[(peaks > below) & (peaks >= shortest) & (peaks <= longest)] if below else peaks[:0]
    if not len(peaks) or curve[peaks].max() < CLARITY:
        return 0.0
    lag = int(peaks[np.argmax(curve[peaks] >= FIRST * curve[peaks].max())])
    a, b, c = curve[lag - 1 : lag + 2]
    hz = float(rate * fine / (lag + 0.5 * (a - c) / min(a - 2 * b + c, -1e-12)))
    return hz if _has_fundamental(frame, rate, hz) else 0.0


def _has_fundamental(frame: Floats, rate: int, hz: float) -> bool:
    """Whether there is a partial at the pitch itself: chords repeat after the period of a lower note without one."""
    power = np.abs(np.fft.rfft(frame * np.hanning(len(frame)))) ** 2
    place = hz * len(frame) / rate
    near = power[max(1, int(place - 1)) : int(place + 2) + 1]
    return bool(near.max(initial=0.0) > FUNDAMENTAL * power.max())
