"""Log-mel spectrograms, and a perceptual difference between two clips."""

from __future__ import annotations

import numpy as np

BANDS, WINDOW, HOP = 64, 2048, 512
FLOOR = 1e-8  # power floor, -80 dB
COMPARED_BANDS = 128
FULL_SCALE_SINE = 10 * np.log10(0.25)  # its level in `log_mel`
AUDIBLE = -60.0  # dB relative to a full-scale sine


def log_mel(audio: np.ndarray, sample_rate: int, bands: int = BANDS) -> np.ndarray:
    """Return the spectrogram (bands, frames) in dB of audio (channels, samples); channels are averaged in power.

    A full-scale sine has -6 dB.
    """
    padded = np.pad(audio.astype(np.float64), ((0, 0), (WINDOW // 2, WINDOW // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=-1)[:, ::HOP]
    window = np.hanning(WINDOW)
    spectra = np.fft.rfft(frames * window, axis=-1) / window.sum()
    power = (np.abs(spectra) ** 2).mean(axis=0) @ mel_filter_bank(bands, WINDOW, sample_rate).T
    return 10 * np.log10(np.maximum(power, FLOOR)).T


def log_mel_difference(generated: np.ndarray, real: np.ndarray, rate: int) -> float:
    """Return the mean absolute difference in dB of two clips (channels, samples) over audible bins of the real one.

    It uses 128 mel bands, Hann windows of 2048 samples with hop 512, and channels averaged in power. A time-mel bin is
    audible where the real clip exceeds -60 dBFS; levels are clamped at -74 dBFS. NaN if no bin is audible.
    """
    length = min(generated.shape[1], real.shape[1])
    a, b = (log_mel(clip, rate, COMPARED_BANDS) - FULL_SCALE_SINE for clip in (generated[:, :length], real[:, :length]))
    audible = b > AUDIBLE
    return float(np.abs(a - b)[audible].mean()) if audible.any() else float("nan")


def mel_filter_bank(bands: int, window: int, sample_rate: int) -> np.ndarray:
    """Return triangular filters (bands, window / 2 + 1) of peak 1, evenly spaced in mel from 0 Hz to Nyquist, float64.

    A band that contains no FFT bin is all zeros.
    """
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.fft.rfftfreq(window, 1 / sample_rate)
    return np.clip(np.minimum((bins - low) / (center - low), (high - bins) / (high - center)), 0, None)
