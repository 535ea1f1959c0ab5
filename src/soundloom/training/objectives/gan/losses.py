"""The game between an autoencoder and its discriminators.

Scores of a real sound and of its own reconstruction are compared position by position.
Source: SAME and stable-audio-tools, as described for their training code.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.training.config import AdversarialConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.feature_matching import feature_distance
from soundloom.training.objectives.gan.discriminators import DiscriminatorOutput, build_discriminator

GANLoss = Literal["hinge", "relativistic", "least-squares"]
MEMORY = 0.99  # of the running discriminator loss
NOISE_PER_LOSS = 10.0  # deviations of noise for each unit by which that loss is too low


def discriminator_loss(game: GANLoss, real: Tensor, made: Tensor) -> Tensor:
    """What a discriminator minimizes, given its scores; ln 2 is the relativistic one of a blind discriminator."""
    if game == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + made).mean()
    if game == "relativistic":
        return F.softplus(made - real).mean()
    return made.square().mean() + (1 - real).square().mean()


def generator_loss(game: GANLoss, real: Tensor, made: Tensor) -> Tensor:
    """What the maker of `made` minimizes."""
    if game == "hinge":
        return -made.mean()
    if game == "relativistic":
        return F.softplus(real - made).mean()
    return (1 - made).square().mean()


class DiscriminatorEnsemble(nn.Module):
    """All discriminators, and a memory of how well they do: where they win, noise makes their task harder."""

    def __init__(self, config: AdversarialConfig, rate: int) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleDict(
            {
                f"{i}_{member.kind}_{member.size}": build_discriminator(member, rate)
                for i, member in enumerate(config.discriminators)
            }
        )
        self.register_buffer("recent_loss", torch.ones(()))

    def discriminator_losses(self, made: Tensor, real: Tensor, stream: RngStream) -> dict[str, Tensor]:
        """Losses of a step that trains the members to tell real from made (b, 2, n); made is a constant."""
        pairs = self._judge(made.detach(), real, stream)
        losses = {
            name: discriminator_loss(self.config.loss, of_real.scores, of_made.scores)
            for name, (of_made, of_real) in pairs.items()
        }
        mean = torch.stack(list(losses.values())).mean()
        if self.training:
            self.get_buffer("recent_loss").lerp_(mean.detach(), 1 - MEMORY)
        return {"loss": mean} | losses

    def generator_losses(self, made: Tensor, real: Tensor, stream: RngStream) -> dict[str, Tensor]:
        """Losses of a step that trains the autoencoder to be taken for real: the game, and the members' features."""
        pairs = self._judge(made, real, stream).values()
        games = [generator_loss(self.config.loss, of_real.scores, of_made.scores) for of_made, of_real in pairs]
        features = [feature_distance(of_made.features, of_real.features) for of_made, of_real in pairs]
        return {"adversarial": torch.stack(games).mean(), "features": torch.stack(features).mean()}

    def _judge(
        self, made: Tensor, real: Tensor, stream: RngStream
    ) -> dict[str, tuple[DiscriminatorOutput, DiscriminatorOutput]]:
        """Opinions of made and real; where the members rest, those of real need no gradient."""
        training = any(parameter.requires_grad for parameter in self.members.parameters())
        made, real = (self._veiled(sound, stream) for sound in (made, real))
        with torch.set_grad_enabled(training and torch.is_grad_enabled()):
            of_real = {name: member(real) for name, member in self.members.items()}
        return {name: (member(made), of_real[name]) for name, member in self.members.items()}

    def _veiled(self, sound: Tensor, stream: RngStream) -> Tensor:
        lacking = self.config.noise_below - float(self.get_buffer("recent_loss"))
        if lacking <= 0:
            return sound
        return sound + stream.normal(*sound.shape) * sound.detach().std() * NOISE_PER_LOSS * lacking
