"""Log-mel spectrograms, for comparing how two sounds come across."""

from __future__ import annotations

import numpy as np

BANDS, WINDOW, HOP = 64, 2048, 512
FLOOR = 1e-8  # power below which all is silence: -80 dB


def log_mel(audio: np.ndarray, sample_rate: int, bands: int = BANDS) -> np.ndarray:
    """Return the spectrogram (bands, frames) in dB of audio (channels, samples); channels are averaged in power.

    A sine of full scale reads -6 dB.
    """
    padded = np.pad(audio.astype(np.float64), ((0, 0), (WINDOW // 2, WINDOW // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=-1)[:, ::HOP]
    window = np.hanning(WINDOW)
    spectra = np.fft.rfft(frames * window, axis=-1) / window.sum()
    power = (np.abs(spectra) ** 2).mean(axis=0) @ _filters(sample_rate, bands).T
    return 10 * np.log10(np.maximum(power, FLOOR)).T


def _filters(sample_rate: int, bands: int) -> np.ndarray:
    """Triangles (bands, bins), evenly spaced in mel from 0 Hz to half the sample rate, each with a peak of 1."""
    edges = _to_hz(np.linspace(0, _to_mel(sample_rate / 2), bands + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / sample_rate)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)


def _to_mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def _to_hz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)
