"""Text features for critics and scorers: learned embeddings, or a frozen text encoder."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder


class TextFeatures(Protocol):
    """Maps token ids and mask (b, s) to features (b, s, width)."""

    width: int

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor: ...


class TextEmbedding(nn.Module):
    """Learned token embeddings."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.embedding(ids)


class FrozenTextEncoder:
    """A frozen text encoder; not a module, so that no state dict includes its weights."""

    def __init__(self, encoder: T5GemmaEncoder) -> None:
        self.encoder = encoder.eval()
        self.width = encoder.config.hidden_size

    @torch.no_grad()
    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(ids, mask).float()
