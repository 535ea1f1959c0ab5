"""Scorers: how far latents are from what their captions say, as something a generator can be trained by.

`LatentCritic` is the project's own and learns beside the generator; anything else with a `distance` may take its place.
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
from soundloom.training.objectives.timesteps import noisy, stratified
from soundloom.training.objectives.transformer import Transformer, mean_of_valid

NOISE_FEATURES = 256
FIRST_TEMPERATURE = 0.07
REGULAR = 0.1  # weight of nearness and of each uniformity beside the contrast
LONGEST_CHORD = 1.999  # of unit vectors, beyond which the arc has no gradient to speak of


class Scorer(Protocol):
    """Anything that can say how far sounds are from their captions."""

    def distance(self, latents: Tensor, batch: TrainingBatch, stream: RngStream) -> Tensor:
        """Distances (b,) of latents (b, c, t) from the captions of a batch; small is good."""
        ...


class LatentCritic(nn.Module):
    """Latents at any noise level and captions as unit vectors, which point the same way where both belong together."""

    def __init__(self, config: ScorerConfig, latent_dim: int, vocabulary: int) -> None:
        super().__init__()
        width = config.width
        self.from_latents, self.from_noise = nn.Linear(latent_dim, width), nn.Linear(NOISE_FEATURES, width)
        self.latent_encoder, self.text_encoder = Transformer(width, config.depth), Transformer(width, 1)
        self.text = TextEmbedding(vocabulary, width)
        self.to_sound, self.to_text = _projection(width), _projection(width)
        self.temperature = nn.Parameter(torch.tensor(math.log(1 / FIRST_TEMPERATURE)))

    def embed_audio(self, latents: Tensor, valid: Tensor, t: Tensor) -> Tensor:
        """Directions (b, d) of latents (b, c, t) with noise of level t (b,)."""
        h = self.from_latents(latents.transpose(1, 2))
        h = h + self.from_noise(fourier_features(t, NOISE_FEATURES))[:, None]
        return F.normalize(self.to_sound(mean_of_valid(self.latent_encoder(h, valid), valid)), dim=-1)

    def embed_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Directions (b, d) of captions (b, s)."""
        return F.normalize(self.to_text(mean_of_valid(self.text_encoder(self.text(ids, mask), mask), mask)), dim=-1)

    def losses(self, batch: TrainingBatch, stream: RngStream) -> dict[str, Tensor]:
        """What the critic learns by: its captions' own sounds, half of them noisy, against the others of a batch."""
        sound = self._embed_noisy(batch.data, batch, stream)
        text = self.embed_text(batch.ids, batch.mask)
        contrast = info_nce(sound, text, self.temperature.exp(), equal_rows(batch.ids))
        near = 1 - (sound * text).sum(-1).mean()
        spread = (uniformity(sound, sound) + uniformity(text, text)) / 2 + uniformity(sound, text)
        return {"loss": contrast + REGULAR * (near + spread), "critic": contrast}

    def distance(self, latents: Tensor, batch: TrainingBatch, stream: RngStream) -> Tensor:
        """Twice the squared arc sine of half the chord between sound and caption."""
        return geodesic(self._embed_noisy(latents, batch, stream), self.embed_text(batch.ids, batch.mask))

    def _embed_noisy(self, latents: Tensor, batch: TrainingBatch, stream: RngStream) -> Tensor:
        """Directions of latents of which half are clean and the others at random noise levels."""
        t = stratified(stream, len(latents)) * (stratified(stream, len(latents)) < 0.5)
        return self.embed_audio(noisy(latents, stream.normal(*latents.shape), t), batch.valid, t)


def geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared angle between unit vectors (b, d), smooth where they are equal."""
    chord = ((a - b).square().sum(-1) + 1e-12).sqrt().clamp_max(LONGEST_CHORD)
    return 2 * torch.asin(chord / 2).square()


def info_nce(a: Tensor, b: Tensor, scale: Tensor, equal: Tensor) -> Tensor:
    """Contrastive loss of pairs of unit vectors (b, d) both ways; `equal` items (b, b) are not told apart."""
    logits = (scale * a @ b.T).masked_fill(equal & _others(a), -math.inf)
    own = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def uniformity(a: Tensor, b: Tensor) -> Tensor:
    """Logarithm of how much unit vectors (b, d) of different items crowd together; 0 for a single item."""
    crowding = torch.exp(-2 * (2 - 2 * a @ b.T))[_others(a)]
    return crowding.mean().log() if len(a) > 1 else crowding.sum()


def _others(a: Tensor) -> Tensor:
    """All pairs (b, b) but those of an item with itself."""
    return ~torch.eye(len(a), dtype=torch.bool, device=a.device)


def equal_rows(ids: Tensor) -> Tensor:
    """Which items of ids (b, s) are equal, (b, b)."""
    return (ids[:, None] == ids[None]).all(-1)


def _projection(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
