"""The auxiliary modules that are trained with an autoencoder; those with weight 0 are not built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from soundloom.training.config import AutoencoderConfig, DiTTrainingConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import Term
from soundloom.training.objectives.alignment import DiffusionAlignment
from soundloom.training.objectives.contrastive import ContrastiveCritic
from soundloom.training.objectives.gan.losses import DiscriminatorEnsemble
from soundloom.training.objectives.semantic import SemanticRegression, weighted_sum
from soundloom.training.objectives.text_features import TextFeatures


@dataclass(frozen=True)
class Reconstruction:
    """A batch and its reconstruction."""

    real: Tensor  # (b, 2, samples)
    latents: Tensor  # (b, c, t)
    decoded: Tensor  # (b, 2, samples)
    caption: tuple[Tensor, Tensor] | None  # ids and mask (captioned, s) of the first items; the others are sweeps


class AuxiliaryModules(nn.Module):
    """Discriminators, diffusion alignment, semantic heads and contrastive critic of an autoencoder."""

    def __init__(self, config: AutoencoderConfig, latent_dim: int, rate: int, text: TextFeatures | None) -> None:
        super().__init__()
        self.config = config
        self.discriminators = DiscriminatorEnsemble(config.adversarial, rate) if config.adversarial.weight else None
        times = DiTTrainingConfig(config.loop)
        self.alignment = DiffusionAlignment(config.alignment, times, latent_dim) if config.alignment.weight else None
        self.semantic = SemanticRegression(config.semantic, latent_dim, rate) if config.semantic.weight else None
        self.critic = ContrastiveCritic(config.contrastive, latent_dim, text) if config.contrastive.weight else None

    @property
    def jointly_trained(self) -> tuple[nn.Module, ...]:
        """Modules that share the optimizer and losses of the autoencoder."""
        return tuple(module for module in (self.alignment, self.semantic, self.critic) if module is not None)

    def terms(self, batch: Reconstruction, step: int, stream: RngStream) -> Iterator[Term]:
        """Yield the autoencoder's losses that need auxiliary modules."""
        config = self.config
        if self.discriminators and step >= config.adversarial.start + config.adversarial.head_start:
            losses = self.discriminators.generator_losses(batch.decoded, batch.real, stream)
            yield "adversarial", config.adversarial.weight, losses["adversarial"]
            yield "feature_matching", config.adversarial.feature_matching, losses["features"]
        if self.alignment:
            losses = self.alignment(_detach_until(batch.latents, step, config.alignment.detached_until), stream)
            yield "alignment", config.alignment.weight, losses["alignment"]
            yield "alignment_zero", 0.0, losses["alignment_zero"]
        if self.semantic:
            errors = self.semantic(_detach_until(batch.latents, step, config.semantic.detached_until), batch.real)
            yield "semantic", config.semantic.weight, weighted_sum(errors)
            yield from ((f"semantic_{name}", 0.0, error) for name, error in errors.items())
        if self.critic:
            count = len(batch.real) if batch.caption is None else len(batch.caption[0])
            latents = _detach_until(batch.latents[:count], step, config.contrastive.detached_until)
            loss = self.critic(latents, batch.real[:count], stream, batch.caption)
            yield "contrastive", config.contrastive.weight, loss


def _detach_until(latents: Tensor, step: int, detached_until: int) -> Tensor:
    """Return the latents, without gradient before a step."""
    return latents if step >= detached_until else latents.detach()
