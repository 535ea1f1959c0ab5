"""Log-mel spectrograms, for comparing how two sounds come across."""

from __future__ import annotations

import numpy as np

BANDS, WINDOW, HOP = 64, 2048, 512
FLOOR = 1e-8  # power below which all is silence: -80 dB
COMPARED_BANDS = 128
FULL_SCALE_SINE = 10 * np.log10(0.25)  # what log_mel reads for it
HEARD = -60.0  # dBFS, where a sine of full scale is 0


def log_mel(audio: np.ndarray, sample_rate: int, bands: int = BANDS) -> np.ndarray:
    """Return the spectrogram (bands, frames) in dB of audio (channels, samples); channels are averaged in power.

    A sine of full scale reads -6 dB.
    """
    padded = np.pad(audio.astype(np.float64), ((0, 0), (WINDOW // 2, WINDOW // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=-1)[:, ::HOP]
    window = np.hanning(WINDOW)
    spectra = np.fft.rfft(frames * window, axis=-1) / window.sum()
    power = (np.abs(spectra) ** 2).mean(axis=0) @ mel_filter_bank(bands, WINDOW, sample_rate).T
    return 10 * np.log10(np.maximum(power, FLOOR)).T


def log_mel_difference(made: np.ndarray, real: np.ndarray, rate: int) -> float:
    """Mean absolute difference in dB of two clips (channels, samples), over the cells heard in the real one.

    128 mel bands, Hann windows of 2048 samples every 512, channels averaged in power; a cell counts where the real
    clip is above -60 dBFS, and levels end at -74 dBFS below. NaN where nothing is heard.
    """
    length = min(made.shape[1], real.shape[1])
    a, b = (log_mel(clip, rate, COMPARED_BANDS) - FULL_SCALE_SINE for clip in (made[:, :length], real[:, :length]))
    heard = b > HEARD
    return float(np.abs(a - b)[heard].mean()) if heard.any() else float("nan")


def mel_filter_bank(bands: int, window: int, sample_rate: int) -> np.ndarray:
    """Triangles (bands, window / 2 + 1) of peak 1, evenly spaced in mel from 0 Hz to half the sample rate, in float64.

    A band that falls between two bins is zero.
    """
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.fft.rfftfreq(window, 1 / sample_rate)
    return np.clip(np.minimum((bins - low) / (center - low), (high - bins) / (high - center)), 0, None)
