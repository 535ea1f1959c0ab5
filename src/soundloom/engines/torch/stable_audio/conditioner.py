"""The conditioner: text embeddings and a duration to the context of the transformer's cross-attention.

Letters for axes: b batch, s tokens, d width. Source: stable-audio-3, models/conditioners.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from soundloom.config.stable_audio.model import ConditioningConfig
from soundloom.engines.torch.blocks import Linear, fourier_features, normal

DURATION_FEATURES = 256


class PromptConditioner(nn.Module):
    """Replaces the embeddings of padding by a learned embedding or zeros, or leaves them as they are."""

    def __init__(self, config: ConditioningConfig) -> None:
        super().__init__()
        self.padding_mode = config.prompt.padding_mode
        if self.padding_mode == "learned":
            self.padding_embedding = nn.Parameter(normal(config.cond_dim, scale=0.02))

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Map text embeddings (b, s, d) and their mask (b, s) to tokens (b, s, d)."""
        if self.padding_mode == "none":
            return embeddings
        fill = self.padding_embedding if self.padding_mode == "learned" else embeddings.new_zeros(())
        return torch.where(mask.bool()[..., None], embeddings, fill.to(embeddings.dtype))


class NumberEmbedder(nn.Module):
    """Fourier features of a number, then a linear layer; index 0 of the checkpoint has no parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.ModuleDict({"1": Linear(DURATION_FEATURES, width)})

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding["1"](fourier_features(x, DURATION_FEATURES))


class NumberConditioner(nn.Module):
    """Embeds seconds (b,), clamped to the configured range, as one token (b, 1, d)."""

    def __init__(self, config: ConditioningConfig) -> None:
        super().__init__()
        self.range = config.seconds_total
        self.embedder = NumberEmbedder(config.cond_dim)

    def forward(self, seconds: Tensor) -> Tensor:
        low, high = self.range.min_val, self.range.max_val
        return self.embedder((seconds.float().clamp(low, high) - low) / (high - low))[:, None]


class Conditioner(nn.Module):
    """The prompt and duration conditioners, under the checkpoint's names."""

    def __init__(self, config: ConditioningConfig) -> None:
        super().__init__()
        self.prompt = PromptConditioner(config)
        self.seconds_total = NumberConditioner(config)

    def forward(self, embeddings: Tensor, mask: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the context (b, s + 1, d), prompt first, and the duration alone (b, d)."""
        tokens, duration = self.prompt(embeddings, mask), self.seconds_total(seconds)
        return torch.cat([tokens.to(duration.dtype), duration], dim=1), duration[:, 0]
