"""The discriminator of post-training: a copy of the generator's first blocks, with a head that scores latent frames.

Letters: b batch, c latent channels, t frames, d width. Source: adversarial relativistic-contrastive post-training, as
described for stable-audio-tools.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.errors import ConfigError
from soundloom.training.data.batches import TrainingBatch
from soundloom.training.init.generator import Generator
from soundloom.training.objectives.feature_matching import outputs_of
from soundloom.training.objectives.gan.discriminators import DiscriminatorOutput

DILATIONS = (1, 2, 4, 1, 2, 4)
GROUPS = 16
DEFAULT_DEPTH = 0.7  # relative depth of the block whose features the published discriminators read
Embedded = tuple[Tensor, Tensor]  # context and duration from the discriminator's own conditioner


class LatentDiscriminator(nn.Module):
    """The blocks of a generator up to the last of `layers`, and a head on the outputs of those in `layers`."""

    def __init__(self, generator: Generator, layers: Sequence[int], head_width: int) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(generator)
        transformer = self.backbone.dit.transformer
        if any(not 0 <= layer < len(transformer.layers) for layer in layers):
            last = len(transformer.layers) - 1
            raise ConfigError(f"discriminator_layers must be between 0 and {last}, found {list(layers)}")
        self.layers = sorted(layers) or [max(0, round(DEFAULT_DEPTH * len(transformer.layers)) - 1)]
        transformer.layers = transformer.layers[: self.layers[-1] + 1]
        self.memory_tokens = len(transformer.memory_tokens)
        self.head = Head(len(self.layers) * self.backbone.dit.config.embed_dim, head_width)

    def embed(self, batch: TrainingBatch) -> Embedded:
        """Embed the prompts of a batch once for several calls."""
        return self.backbone.embed(batch.ids, batch.mask, batch.seconds)

    def forward(self, batch: TrainingBatch, x: Tensor, t: Tensor, embedded: Embedded) -> DiscriminatorOutput:
        """Score noisy latents x (b, c, t) at timesteps t (b,), given the prompts of the batch; scores are (b, t)."""
        blocks = self.backbone.dit.transformer.layers
        with outputs_of(blocks[layer] for layer in self.layers) as outputs:
            self.backbone(batch, x, t, embedded)
        features = [output[:, self.memory_tokens :] for output in outputs]  # (b, t, d)
        return DiscriminatorOutput(self.head(torch.cat(features, dim=-1), batch.valid), features)


class Head(nn.Module):
    """Dilated convolutions that preserve the number of frames, so that clips may be short."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(width, hidden, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, hidden) for _ in DILATIONS)
        self.score = nn.Conv1d(hidden, 1, 1)

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Score features (b, t, d); frames that are not valid (b, t) are zeroed."""
        h = self.reduce((features * valid[..., None]).transpose(1, 2))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h = h + F.leaky_relu(norm(convolution(h)), 0.2)
        return self.score(h)[:, 0]
