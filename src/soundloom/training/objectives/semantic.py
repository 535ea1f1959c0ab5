"""Semantic regression: linear heads predict chroma and stereo balance from the latents.

Targets are computed from the encoded audio: chroma in three octave ranges, and the level difference of left and right
in mel bands. They scale with level. Letters: b batch, c channels of a target, d latent channels, n frames, t latents.
Source: SAME, as described for its training code (where the absolute error is named a squared one).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.audio.mel import mel_filter_bank
from soundloom.training.config import SemanticConfig
from soundloom.training.objectives.spectral.filterbanks import chroma_bank
from soundloom.training.objectives.spectral.losses import tight_stft

CHROMA_BINS, MEL_BANDS = 128, 32
OCTAVES = {"low": (1.0, 1.0), "middle": (5.0, 1.5), "high": (9.0, 1.0)}  # above A0: center and width
WEIGHTS = {"low": 0.035, "middle": 0.05, "high": 0.2, "balance": 0.1}
LEVEL_FLOOR, BALANCE_SCALE = 1e-3, 3.0


class SemanticTargets(nn.Module):
    """The regression targets of audio."""

    def __init__(self, window: int, rate: int) -> None:
        super().__init__()
        self.window = window
        for name, (octave, width) in OCTAVES.items():
            bank = torch.from_numpy(chroma_bank(CHROMA_BINS, window, rate, octave, width)).float()
            self.register_buffer(name, bank.T, persistent=False)
        mel = torch.from_numpy(mel_filter_bank(MEL_BANDS, window, rate)).float()
        self.register_buffer("mel", mel.T, persistent=False)

    @torch.no_grad()
    def forward(self, audio: Tensor) -> dict[str, Tensor]:
        """Return targets (b, c, n) of audio (b, 2, samples): chroma "low", "middle", "high", and "balance"."""
        with torch.autocast(audio.device.type, enabled=False):
            magnitude = tight_stft(audio, self.window, 2).abs()  # (b, 2, n, bins)
            both = torch.log1p(magnitude.mean(1))
            targets = {name: both @ self.get_buffer(name) for name in OCTAVES}
            levels = torch.log10(magnitude @ self.get_buffer("mel") + LEVEL_FLOOR)
            targets["balance"] = (levels[:, 0] - levels[:, 1]) / BALANCE_SCALE
        return {name: target.transpose(1, 2) for name, target in targets.items()}


class SemanticRegression(nn.Module):
    """A linear head for each target."""

    def __init__(self, config: SemanticConfig, latent_dim: int, rate: int) -> None:
        super().__init__()
        self.targets = SemanticTargets(config.window, rate)
        sizes = dict.fromkeys(OCTAVES, CHROMA_BINS) | {"balance": MEL_BANDS}
        self.heads = nn.ModuleDict({name: nn.Conv1d(latent_dim, size, 1) for name, size in sizes.items()})

    def forward(self, latents: Tensor, audio: Tensor) -> dict[str, Tensor]:
        """Return the mean absolute error of each head on latents (b, d, t) of audio (b, 2, samples)."""
        targets = self.targets(audio)
        return {
            name: F.l1_loss(head(latents), F.interpolate(targets[name], latents.shape[-1], mode="linear"))
            for name, head in self.heads.items()
        }


def weighted_sum(errors: dict[str, Tensor]) -> Tensor:
    """Sum the errors with the published weights."""
    return torch.stack([WEIGHTS[name] * error for name, error in errors.items()]).sum()
