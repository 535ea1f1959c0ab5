"""Scorers: differentiable distances between latents and captions, as a loss for a generator.

`LatentCritic` is trained together with the generator; other classes with a `distance` can replace it.
Letters: b batch, c latent channels, t frames, d width.
Source: the CLAP on latents of Stable Audio 3, as described for its training code.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.engines.torch.blocks import fourier_features
from soundloom.training.config import ScorerConfig
from soundloom.training.data.batches import TrainingBatch
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.text_features import TextEmbedding
from soundloom.training.objectives.timesteps import add_noise, stratified
from soundloom.training.objectives.transformer import Transformer, mean_of_valid

NOISE_FEATURES = 256
FIRST_TEMPERATURE = 0.07
REGULARIZATION = 0.1  # weight of alignment and of each uniformity, relative to the contrastive loss
MAX_CHORD = 1.999  # between unit vectors; the arc has no finite gradient at 2


class Scorer(Protocol):
    """A differentiable distance between latents and captions."""

    def distance(self, latents: Tensor, batch: TrainingBatch, stream: RngStream) -> Tensor:
        """Return distances (b,) of latents (b, c, t) from the captions of a batch."""
        ...


class LatentCritic(nn.Module):
    """Embeds latents at any noise level and captions as unit vectors, near each other for matching pairs."""

    def __init__(self, config: ScorerConfig, latent_dim: int, vocabulary: int) -> None:
        super().__init__()
        width = config.width
        self.from_latents, self.from_noise = nn.Linear(latent_dim, width), nn.Linear(NOISE_FEATURES, width)
        self.latent_encoder, self.text_encoder = Transformer(width, config.depth), Transformer(width, 1)
        self.text = TextEmbedding(vocabulary, width)
        self.to_sound, self.to_text = _projection(width), _projection(width)
        self.temperature = nn.Parameter(torch.tensor(math.log(1 / FIRST_TEMPERATURE)))

    def embed_audio(self, latents: Tensor, valid: Tensor, t: Tensor) -> Tensor:
        """Embed noisy latents (b, c, t) at timesteps t (b,) as unit vectors (b, d)."""
        h = self.from_latents(latents.transpose(1, 2))
        h = h + self.from_noise(fourier_features(t, NOISE_FEATURES))[:, None]
        return F.normalize(self.to_sound(mean_of_valid(self.latent_encoder(h, valid), valid)), dim=-1)

    def embed_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embed captions (b, s) as unit vectors (b, d)."""
        return F.normalize(self.to_text(mean_of_valid(self.text_encoder(self.text(ids, mask), mask), mask)), dim=-1)

    def losses(self, batch: TrainingBatch, stream: RngStream) -> dict[str, Tensor]:
        """Contrastive losses of the critic on real pairs of a batch, half of them with noisy latents."""
        sound = self._embed_noisy(batch.data, batch, stream)
        text = self.embed_text(batch.ids, batch.mask)
        contrastive = info_nce(sound, text, self.temperature.exp(), equal_captions(batch.ids))
        alignment = 1 - (sound * text).sum(-1).mean()
        spread = (uniformity(sound, sound) + uniformity(text, text)) / 2 + uniformity(sound, text)
        return {"loss": contrastive + REGULARIZATION * (alignment + spread), "critic": contrastive}

    def distance(self, latents: Tensor, batch: TrainingBatch, stream: RngStream) -> Tensor:
        """Half the squared angle between latents and captions."""
        return geodesic(self._embed_noisy(latents, batch, stream), self.embed_text(batch.ids, batch.mask))

    def _embed_noisy(self, latents: Tensor, batch: TrainingBatch, stream: RngStream) -> Tensor:
        """Embed latents, half of them clean and the others at random noise levels."""
        t = stratified(stream, len(latents)) * (stratified(stream, len(latents)) < 0.5)
        return self.embed_audio(add_noise(latents, stream.normal(*latents.shape), t), batch.valid, t)


def geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared angle between unit vectors (b, d), smooth where they are equal."""
    chord = ((a - b).square().sum(-1) + 1e-12).sqrt().clamp_max(MAX_CHORD)
    return 2 * torch.asin(chord / 2).square()


def info_nce(a: Tensor, b: Tensor, scale: Tensor, equal: Tensor) -> Tensor:
    """Symmetric InfoNCE loss of pairs of unit vectors (b, d); `equal` items (b, b) are not used as negatives."""
    logits = (scale * a @ b.T).masked_fill(equal & _others(a), -math.inf)
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def uniformity(a: Tensor, b: Tensor) -> Tensor:
    """Uniformity loss of unit vectors (b, d) of different items; 0 for a single item.

    Source: Wang and Isola 2020, "Understanding Contrastive Representation Learning".
    """
    potential = torch.exp(-2 * (2 - 2 * a @ b.T))[_others(a)]
    return potential.mean().log() if len(a) > 1 else potential.sum()


def _others(a: Tensor) -> Tensor:
    """Mask (b, b) of pairs of different items."""
    return ~torch.eye(len(a), dtype=torch.bool, device=a.device)


def equal_captions(ids: Tensor) -> Tensor:
    """Mask (b, b) of pairs of equal captions, from ids (b, s)."""
    return (ids[:, None] == ids[None]).all(-1)


def _projection(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
