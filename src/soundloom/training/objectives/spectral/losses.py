"""Losses between a signal and its reconstruction: on samples, and on spectra at several resolutions.

Signals are (b, 2, n). The STFT is a tight frame: the squared windows sum to 1 over all hops.
Source: SAME, as described for its training code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.training.config import SpectralConfig
from soundloom.training.objectives.spectral.filterbanks import k_weighting
from soundloom.training.objectives.spectral.phase import (
    complex_error,
    group_delay_difference,
    instantaneous_frequency_difference,
)

SPREAD_FLOOR = 1e-4  # standard deviation of a signal that counts as silent
MAGNITUDE_FLOOR = 1e-8


def tight_window(size: int, overlap: int) -> Tensor:
    """Power-of-sine window (size,) whose squares at hops of size / overlap sum to 1 at every sample."""
    power = overlap - 1
    gain = (overlap * math.comb(2 * power, power) / 4**power) ** -0.5
    return gain * torch.sin(math.pi * torch.arange(size) / size) ** power


def tight_stft(x: Tensor, size: int, overlap: int) -> Tensor:
    """Energy-preserving STFT (..., frames, size / 2 + 1) of x (..., n), without padding."""
    frames = x.unfold(-1, size, size // overlap)
    spectrum = torch.fft.rfft(frames * tight_window(size, overlap).to(x)) * size**-0.5
    doubled = torch.full((size // 2 + 1,), math.sqrt(2)).to(x)  # bins also represent negative frequencies
    doubled[0] = doubled[-1] = 1
    return spectrum * doubled


def waveform_loss(decoded: Tensor, real: Tensor) -> Tensor:
    """Mean absolute plus mean squared error, each relative to the magnitude of the real batch."""
    error = decoded - real
    scale = real.square().mean().clamp_min(SPREAD_FLOOR**2)
    return error.abs().mean() / scale.sqrt() + error.square().mean() / scale


class SpectralLoss(nn.Module):
    """Multi-resolution STFT loss of left, right, mid and side, averaged over window sizes.

    Terms: spectral convergence ‖X - Y‖ / ‖X + Y‖ of magnitudes; difference of log magnitudes ln(1 + magnitude / floor)
    with a floor relative to the spread of both signals; difference of linear magnitudes; log complex error; differences
    of instantaneous frequency and group delay, see `phase`. Terms of weight 0 are not computed.
    """

    def __init__(self, config: SpectralConfig, rate: int = 44100) -> None:
        super().__init__()
        self.config = config
        if config.k_weighting:
            self.register_buffer("weighting", torch.from_numpy(k_weighting(rate)).float(), persistent=False)

    def forward(self, decoded: Tensor, real: Tensor) -> Tensor:
        """Compare two signals (b, 2, n)."""
        if self.config.k_weighting:
            decoded, real = (apply_filter(signal, self.get_buffer("weighting")) for signal in (decoded, real))
        terms = [self._at_size(decoded, real, size) for size in self.config.windows]
        return torch.stack(terms).mean()

    def _at_size(self, decoded: Tensor, real: Tensor, size: int) -> Tensor:
        config = self.config
        x, y = (with_mid_and_side(tight_stft(signal, size, config.overlap)) for signal in (decoded, real))
        a, b = x.abs().clamp_min(MAGNITUDE_FLOOR), y.abs().clamp_min(MAGNITUDE_FLOOR)
        terms = (
            (config.spectral_convergence, lambda: spectral_convergence(a, b)),
            (config.log_magnitude, lambda: log_magnitude_difference(a, b, config.log_floor)),
            (config.linear_magnitude, lambda: (a - b).abs().mean()),
            (config.complex_error, lambda: complex_error(x, y)),
            (config.instantaneous_frequency, lambda: instantaneous_frequency_difference(x, y)),
            (config.group_delay, lambda: group_delay_difference(x, y)),
        )
        return sum((weight * term() for weight, term in terms if weight), start=decoded.new_zeros(()))


def apply_filter(x: Tensor, taps: Tensor) -> Tensor:
    """Convolve x (b, c, n) with a symmetric filter of odd length, with reflection padding."""
    b, c, n = x.shape
    padded = F.pad(x, (len(taps) // 2, len(taps) // 2), mode="reflect")
    return F.conv1d(padded.reshape(b * c, 1, -1), taps.view(1, 1, -1)).view(b, c, n)


def with_mid_and_side(stereo: Tensor) -> Tensor:
    """Stack left, right, mid and side, (b, 4, ...), from (b, 2, ...); mid and side preserve the energy."""
    left, right = stereo.unbind(1)
    return torch.stack([left, right, (left + right) * 0.5**0.5, (left - right) * 0.5**0.5], dim=1)


def spectral_convergence(a: Tensor, b: Tensor) -> Tensor:
    """Symmetric spectral convergence of magnitudes (b, 4, frames, bins)."""
    error, total = (a - b).flatten(2).norm(dim=-1), (a + b).flatten(2).norm(dim=-1)
    return (error / total.clamp_min(SPREAD_FLOOR)).mean()


def log_magnitude_difference(a: Tensor, b: Tensor, floor: float) -> Tensor:
    """Mean difference of log magnitudes, flat below `floor` times the spread of both, so that silence is harmless."""
    spread = floor * (_spread(a).square() + _spread(b).square()).sqrt()
    return (torch.log1p(a / spread) - torch.log1p(b / spread)).abs().mean()


def _spread(magnitudes: Tensor) -> Tensor:
    """Detached standard deviation over frames and bins, (b, 4, 1, 1)."""
    return magnitudes.detach().flatten(2).std(-1)[..., None, None].clamp_min(SPREAD_FLOOR)


def softnorm_loss(latents: Tensor) -> Tensor:
    """Penalize deviations of latents (b, c, t) from zero mean and unit variance over time, and less over channels."""
    return _kl_to_standard_normal(latents, 2) + 0.4 * _kl_to_standard_normal(latents, 1)


def _kl_to_standard_normal(latents: Tensor, dim: int) -> Tensor:
    variance = latents.var(dim).clamp_min(1e-4)
    return (latents.mean(dim).square() + variance - variance.log() - 1).mean()
