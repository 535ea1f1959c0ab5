"""Compare a variation with its source: what was kept of it, and how closely the variation followed the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from soundloom.audio.blocks import as_stream
from soundloom.audio.channels import to_channels
from soundloom.audio.measure.frames import analyze
from soundloom.audio.measure.onsets import mean_rises, onset_times
from soundloom.audio.resample import resample
from soundloom.evaluation.statistics.intervals import rank_correlation

RATE = 22050  # Hz, at which chroma is computed
LOWEST, OCTAVES = 32.703, 7  # Hz of C1, and octaves above it
BINS = 12  # per octave
LONGEST = 0.5  # seconds of a kernel
HOP = 512  # samples of 23 ms
MAX_LAG = 0.1  # seconds
ONSET_WINDOW = 0.05  # seconds
COURSE = 0.1  # seconds of a step of the loudness course
FAINTEST = -70.0  # dB

Floats = NDArray[np.floating]


def chromagram(audio: Floats, rate: int) -> Floats:
    """Return the constant-Q magnitudes of audio (c, n), folded into pitch classes (12, frames), every 23 ms.

    84 bins from C1, a semitone apart. Source: Brown and Puckette 1992, with kernels in the frequency domain.
    """
    mono = resample(to_channels(audio, 1), rate, RATE)[0]
    size, kernels = _kernels()
    padded = np.pad(mono.astype(np.float64), size // 2)
    magnitudes = np.zeros((len(kernels), 1 + (len(padded) - size) // HOP))
    frames = sliding_window_view(padded, size)[::HOP]
    for start in range(0, len(frames), 64):  # limits memory
        spectra = np.fft.rfft(frames[start : start + 64])
        for i, (first, kernel) in enumerate(kernels):
            part = spectra[:, first : first + len(kernel)] @ kernel
            magnitudes[i, start : start + 64] = np.abs(part)
    return np.asarray(magnitudes.reshape(OCTAVES, BINS, -1).sum(axis=0))


@lru_cache(maxsize=1)
def _kernels() -> tuple[int, list[tuple[int, NDArray[Any]]]]:
    """Return the FFT size, and the first bin and the values of the kernel of each semitone."""
    quality = 2 / (2 ** (1 / BINS) - 1)  # twice the usual length, such that a tone stays out of its neighbors
    longest = int(LONGEST * RATE)
    frequencies = LOWEST * 2 ** (np.arange(OCTAVES * BINS) / BINS)
    size = 1 << (longest - 1).bit_length()
    kernels = []
    for frequency in frequencies:
        length = min(longest, int(quality * RATE / frequency))
        times = np.arange(length) - length // 2
        wave = np.zeros(size, complex)
        wave[size // 2 + times] = np.hanning(length) / length * np.exp(2j * np.pi * frequency / RATE * times)
        spectrum = np.conj(np.fft.fft(wave)[: size // 2 + 1]) / size
        places = np.flatnonzero(np.abs(spectrum) > 0.005 * np.abs(spectrum).max())
        kernels.append((int(places[0]), spectrum[places[0] : places[-1] + 1]))
    return size, kernels


def chroma_correlation(source: Floats, edited: Floats, rate: int) -> float:
    """Return the mean correlation of chroma, frame by frame, at the best lag of at most 100 ms; NaN for silence.

    Frames in which one of the clips has no variation over pitch classes count as 0.
    """
    return chroma_similarity(chromagram(source, rate), chromagram(edited, rate))


def chroma_similarity(a: Floats, b: Floats) -> float:
    """Return the correlation of two chromagrams (12, frames); see `chroma_correlation`."""
    count = min(a.shape[1], b.shape[1])
    if not count or not (a.any() and b.any()):
        return float("nan")
    x, y = (_unit_frames(chroma[:, :count]) for chroma in (a, b))
    reach = min(round(MAX_LAG * RATE / HOP), count - 1)
    lags = range(-reach, reach + 1)
    return max(
        float((x[:, max(0, lag) : count + min(0, lag)] * y[:, max(0, -lag) : count - max(0, lag)]).sum(0).mean())
        for lag in lags
    )


def _unit_frames(chroma: Floats) -> Floats:
    faint = 1e-3 * chroma.max()  # frames without pitch
    centered = chroma - chroma.mean(axis=0)
    return np.asarray(centered / np.maximum(np.linalg.norm(centered, axis=0), faint))


def find_onsets(audio: Floats, rate: int) -> tuple[float, ...]:
    """Return the times of onsets in seconds."""
    return onset_times(mean_rises(analyze(as_stream(np.ascontiguousarray(audio, np.float32)), rate).bands))


def onset_f_measure(reference: Sequence[float], estimated: Sequence[float], window: float = ONSET_WINDOW) -> float:
    """Return the F-measure of two lists of onset times: those within `window` seconds match, each at most once.

    NaN if both are empty. Same result as `mir_eval.onset.f_measure`, except there.
    """
    if not (len(reference) or len(estimated)):
        return float("nan")
    a, b = sorted(reference), sorted(estimated)
    matched = i = j = 0
    while i < len(a) and j < len(b):  # taking the earliest pairs first matches as many as possible
        if abs(a[i] - b[j]) <= window:
            matched, i, j = matched + 1, i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return 2 * matched / (len(a) + len(b))


def loudness_course(audio: Floats, rate: int) -> Floats:
    """Return the level (steps,) in dB of each 100 ms, at least -70."""
    length = max(1, round(COURSE * rate))
    steps = audio.shape[1] // length
    power = np.square(audio[:, : steps * length].astype(np.float64)).reshape(len(audio), steps, length).mean((0, 2))
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (FAINTEST / 10))))


def loudness_correlation(source: Floats, edited: Floats, rate: int) -> float:
    """Return Pearson's correlation of the loudness courses; NaN where one of them is constant."""
    return course_correlation(loudness_course(source, rate), loudness_course(edited, rate))


def course_correlation(x: Floats, y: Floats) -> float:
    """Return the correlation of two loudness courses; see `loudness_correlation`."""
    count = min(len(x), len(y))
    x, y = x[:count], y[:count]
    if count < 2 or np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def level_correlation(levels: Sequence[float], values: Sequence[float]) -> float:
    """Return Spearman's correlation of noise levels and a figure; NaN for one level, or if a value is not finite."""
    return rank_correlation(levels, values) if len(levels) > 1 and np.isfinite(values).all() else float("nan")


def kept_over_obeyed(kept: Sequence[float], obeyed: Sequence[float]) -> float:
    """Return the area under the curve of what is kept over what is obeyed, from the least obeyed point to the most.

    Larger is better: more was kept at the same obedience, or more obeyed. 0 where nothing was obeyed more.
    """
    order = np.argsort(obeyed, kind="stable")
    x, y = np.asarray(obeyed, float)[order], np.asarray(kept, float)[order]
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def half_level(levels: Sequence[float], kept: Sequence[float], ceiling: float, floor: float) -> float:
    """Return the noise level at which what is kept has fallen halfway from the ceiling to the floor.

    Between levels it is interpolated. The ceiling is of the codec's round trip, at level 0, and the floor of clips
    from the prompt alone, at level 1. NaN if the ceiling is not above the floor.
    """
    if not ceiling > floor:
        return float("nan")
    half = (ceiling + floor) / 2
    x, y = np.array([0.0, *levels, 1.0]), np.array([ceiling, *kept, floor])
    after = int(np.flatnonzero(y <= half)[0])  # the last one is
    return float(x[after - 1] + (x[after] - x[after - 1]) * (y[after - 1] - half) / (y[after - 1] - y[after]))
