"""Captions as features for critics and scorers: learnt with them, or those of a text encoder that stays as it is."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder


class TextFeatures(Protocol):
    """Token ids and mask (b, s) to features (b, s, width)."""

    width: int

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor: ...


class TextEmbedding(nn.Module):
    """One vector for each token, learnt by whoever uses it."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.embedding(ids)


class FrozenTextEncoder:
    """What a trained text encoder says of a caption; no module, so that its weights are in nobody's state."""

    def __init__(self, encoder: T5GemmaEncoder) -> None:
        self.encoder = encoder.eval()
        self.width = encoder.config.hidden_size

    @torch.no_grad()
    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(ids, mask).float()
