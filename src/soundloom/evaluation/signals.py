"""Ratios between a signal and its reference, each with its convention in its name."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
SSIM_WINDOW = 7

Peak = Literal["one", "magnitude", "range"]


def snr(estimate: ArrayLike, reference: ArrayLike) -> float:
    """Return the power of the reference over that of the error, in dB; infinite for equal signals."""
    truth, error = _with_error(estimate, reference)
    return _decibels(float((truth**2).sum()), float((error**2).sum()))


def psnr(estimate: ArrayLike, reference: ArrayLike, peak: Peak = "one") -> float:
    """Return the squared peak over the mean squared error, in dB, over all channels.

    The peak is 1.0 (full scale), the largest magnitude of the reference, or its range from lowest to highest.
    """
    truth, error = _with_error(estimate, reference)
    height = {"one": 1.0, "magnitude": float(np.abs(truth).max()), "range": float(np.ptp(truth))}[peak]
    return _decibels(height**2, float((error**2).mean()))


def si_sdr(estimate: ArrayLike, reference: ArrayLike, zero_mean: bool = False) -> Floats:
    """Return the scale-invariant signal-to-distortion ratio in dB along the last axis.

    `zero_mean` first removes the mean of each signal. Flatten channels to measure them together. Source: Le Roux et al.
    2019, "SDR - half-baked or well done?".
    """
    found, truth = (np.asarray(signal, np.float64) for signal in (estimate, reference))
    if zero_mean:
        found, truth = (signal - signal.mean(axis=-1, keepdims=True) for signal in (found, truth))
    gain = (found * truth).sum(axis=-1, keepdims=True) / np.maximum((truth**2).sum(axis=-1, keepdims=True), 1e-300)
    target = gain * truth
    powers = ((target**2).sum(axis=-1), ((found - target) ** 2).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):  # both are silent
        return np.asarray(10 * (np.log10(powers[0]) - np.log10(powers[1])))


def si_sdr_improvement(estimate: ArrayLike, reference: ArrayLike, unprocessed: ArrayLike) -> Floats:
    """Return how much higher the SI-SDR of an estimate is than that of the unprocessed input, means left in."""
    return si_sdr(estimate, reference) - si_sdr(unprocessed, reference)


def ssim(estimate: ArrayLike, reference: ArrayLike, data_range: float = 1.0) -> float:
    """Return the mean structural similarity of two images (rows, columns), as of spectrograms; 1 for equal ones.

    Windows are 7 × 7 and uniform, variances those of samples, as in scikit-image. State the scale of the spectrograms:
    of power with a range of 1, as published for Instruct-MusicGen, the loudest bins alone count. Source: Wang et al.
    2004, "Image quality assessment: from error visibility to structural similarity".
    """
    a, b = (np.asarray(image, np.float64) for image in (estimate, reference))
    if min(a.shape) < SSIM_WINDOW:
        return float("nan")
    mean_a, mean_b, square_a, square_b, product = (_windowed(image) for image in (a, b, a * a, b * b, a * b))
    unbiased = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    variances = unbiased * (square_a - mean_a**2 + square_b - mean_b**2)
    covariance = unbiased * (product - mean_a * mean_b)
    small_mean, small_variance = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    alike = (2 * mean_a * mean_b + small_mean) * (2 * covariance + small_variance)
    return float((alike / ((mean_a**2 + mean_b**2 + small_mean) * (variances + small_variance))).mean())


def _windowed(image: Floats) -> Floats:
    """Return the means of all windows that lie inside an image."""
    return sliding_window_view(image, (SSIM_WINDOW, SSIM_WINDOW)).mean(axis=(2, 3))


def _with_error(estimate: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    truth = np.asarray(reference, np.float64)
    return truth, np.asarray(estimate, np.float64) - truth


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")
