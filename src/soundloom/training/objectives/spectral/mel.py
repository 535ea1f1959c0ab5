"""Multi-resolution log-mel loss in decibels, the metric of the packaged autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from soundloom.audio.mel import mel_filter_bank
from soundloom.training.config import MelConfig
from soundloom.training.objectives.spectral.losses import with_mid_and_side


class MelLoss(nn.Module):
    """Mean absolute difference in dB over left, right, mid and side, averaged over windows.

    Levels are relative to full scale. Cells below the floor in both sounds have no weight; cells above it only in the
    decoded sound have weight `added`.
    """

    def __init__(self, config: MelConfig, rate: int) -> None:
        super().__init__()
        self.config = config
        self.floor = 10 ** (config.floor_db / 10)
        for window in config.windows:
            bank = torch.from_numpy(mel_filter_bank(config.bands, window, rate)).float().T
            self.register_buffer(f"bank_{window}", bank, persistent=False)

    def forward(self, decoded: Tensor, real: Tensor) -> Tensor:
        """Compare two signals (b, 2, n)."""
        return torch.stack([self._at_size(decoded, real, window) for window in self.config.windows]).mean()

    def _at_size(self, decoded: Tensor, real: Tensor, window: int) -> Tensor:
        a, b = (self.power(with_mid_and_side(signal), window) for signal in (decoded, real))
        audible, added = b > self.floor, (a > self.floor) & (b <= self.floor)
        weight = audible.float() + self.config.excess_weight * added
        difference = 10 * (torch.log10(a + self.floor) - torch.log10(b + self.floor)).abs()
        return (difference * weight).sum() / weight.sum().clamp_min(1)

    def power(self, x: Tensor, window: int) -> Tensor:
        """Mel power (..., frames, bands) of x (..., n); a sine of amplitude 1 has a peak of 1/4."""
        taper = torch.hann_window(window, device=x.device)
        frames = x.unfold(-1, window, window // 4) * (taper / taper.sum())
        spectrum: Tensor = torch.fft.rfft(frames)
        return (spectrum.real.square() + spectrum.imag.square()) @ self.get_buffer(f"bank_{window}")
