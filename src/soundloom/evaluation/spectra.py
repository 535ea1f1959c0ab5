"""Distances between clips: spectral convergence, SI-SDR, envelope modulation, loudness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.loudness import integrated_loudness
from soundloom.audio.mel import COMPARED_BANDS, log_mel
from soundloom.evaluation import signals

ENVELOPE_RATE = 1050  # Hz, a divisor of 44100
MAX_HARMONICS = 8  # of the latent rate
MAX_RATIO = 200.0  # dB, of equal clips

Floats = NDArray[np.floating]


def spectral_convergence(generated: NDArray, real: NDArray, rate: int) -> float:
    """Relative distance of mel magnitudes: 0 for equal clips, 1 for silence.

    Unlike differences in dB it emphasizes loud parts, so that faint codec hiss everywhere does not dominate.
    Source: Arik et al. 2019, "Fast Spectrogram Inversion Using Multi-Head Convolutional Neural Networks".
    """
    a, b = (10 ** (log_mel(clip, rate, COMPARED_BANDS) / 20) for clip in _equal_length(generated, real))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _equal_length(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    length = min(a.shape[1], b.shape[1])
    return a[:, :length], b[:, :length]


def si_sdr(decoded: NDArray, real: NDArray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB over all channels, without their means, within ±200 dB."""
    pair = (clip - clip.mean(axis=1, keepdims=True, dtype=np.float64) for clip in _equal_length(decoded, real))
    ratio = np.clip(signals.si_sdr(*(clip.ravel() for clip in pair)), -MAX_RATIO, MAX_RATIO)
    return float(np.nan_to_num(ratio, nan=0.0))  # both silent


def envelope_harmonics(audio: NDArray, rate: int, tone_rate: float) -> Floats:
    """Power (harmonics,) of the envelope at multiples of `tone_rate` in Hz, relative to its squared mean.

    The envelope is the RMS in steps of about a millisecond.
    """
    hop = rate // ENVELOPE_RATE
    steps = audio.shape[1] // hop
    power = (audio[:, : steps * hop].astype(np.float64) ** 2).reshape(len(audio), steps, hop).mean(axis=(0, 2))
    envelope = np.sqrt(power)
    window = np.hanning(steps)
    times = np.arange(steps) * hop / rate
    waves = np.exp(-2j * np.pi * tone_rate * np.arange(1, MAX_HARMONICS + 1)[:, None] * times)
    amplitude = np.abs(waves @ (window * (envelope - envelope.mean()))) / window.sum()
    return np.asarray((amplitude / max(envelope.mean(), 1e-9)) ** 2)


def buzz(decoded: list[NDArray], real: list[NDArray], rate: int, tone_rate: float) -> float:
    """Largest excess in dB of an envelope harmonic of decoded clips over real ones, from means over clips."""
    power = [
        np.mean([envelope_harmonics(clip, rate, tone_rate) for clip in clips], axis=0) for clips in (decoded, real)
    ]
    return float((10 * np.log10((power[0] + 1e-12) / (power[1] + 1e-12))).max())


def loudness_step(audio: NDArray, rate: int, region: tuple[float, float]) -> float:
    """Loudness of a region, in seconds, minus that of its surroundings of equal length on each side, in LU."""
    start, end = (round(edge * rate) for edge in region)
    length = end - start
    around = np.concatenate([audio[:, max(0, start - length) : start], audio[:, end : end + length]], axis=1)
    inside = integrated_loudness(audio[:, start:end], rate)
    return max(inside, -100.0) - max(integrated_loudness(around, rate), -100.0)


def level_difference(audio: NDArray) -> float:
    """Level of the right channel minus that of the left, in dB."""
    left, right = (audio.astype(np.float64) ** 2).mean(axis=1) + 1e-12
    return float(10 * np.log10(right / left))
