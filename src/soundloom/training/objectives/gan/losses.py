"""GAN losses, and the ensemble of discriminators of an autoencoder.

Scores of a real sound and of its reconstruction are compared position by position.
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
from soundloom.training.objectives.gan.discriminators import DiscriminatorOutput as Output
from soundloom.training.objectives.gan.discriminators import build_discriminator

GANLoss = Literal["hinge", "relativistic", "least-squares"]
MOMENTUM = 0.99  # of the running discriminator loss
NOISE_PER_LOSS = 10.0  # standard deviations of noise per unit by which that loss is below `noise_below`


def discriminator_loss(loss: GANLoss, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of a discriminator from its scores; an uninformed one has ln 2 in the relativistic loss."""
    if loss == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if loss == "relativistic":
        return F.softplus(fake - real).mean()
    return fake.square().mean() + (1 - real).square().mean()


def generator_loss(loss: GANLoss, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the generator from the discriminator's scores."""
    if loss == "hinge":
        return -fake.mean()
    if loss == "relativistic":
        return F.softplus(real - fake).mean()
    return (1 - fake).square().mean()


class DiscriminatorEnsemble(nn.Module):
    """Several discriminators. When their running loss is too low, noise on the inputs makes their task harder."""

    def __init__(self, config: AdversarialConfig, rate: int) -> None:
        super().__init__()
        self.config = config
        networks = ((f"{i}_{one.kind}_{one.size}", one) for i, one in enumerate(config.discriminators))
        self.networks = nn.ModuleDict({name: build_discriminator(one, rate) for name, one in networks})
        self.register_buffer("recent_loss", torch.ones(()))

    def discriminator_losses(self, fake: Tensor, real: Tensor, stream: RngStream) -> dict[str, Tensor]:
        """Losses that train the discriminators on fake and real audio (b, 2, n); no gradient reaches `fake`."""
        outputs = self._discriminate(fake.detach(), real, stream)
        losses = {
            name: discriminator_loss(self.config.loss, of_real.scores, of_fake.scores)
            for name, (of_fake, of_real) in outputs.items()
        }
        mean = torch.stack(list(losses.values())).mean()
        if self.training:
            self.get_buffer("recent_loss").lerp_(mean.detach(), 1 - MOMENTUM)
        return {"loss": mean} | losses

    def generator_losses(self, fake: Tensor, real: Tensor, stream: RngStream) -> dict[str, Tensor]:
        """Losses that train the autoencoder: "adversarial", and "features" for feature matching."""
        outputs = self._discriminate(fake, real, stream).values()
        losses = [generator_loss(self.config.loss, of_real.scores, of_fake.scores) for of_fake, of_real in outputs]
        features = [feature_distance(of_fake.features, of_real.features) for of_fake, of_real in outputs]
        return {"adversarial": torch.stack(losses).mean(), "features": torch.stack(features).mean()}

    def _discriminate(self, fake: Tensor, real: Tensor, stream: RngStream) -> dict[str, tuple[Output, Output]]:
        """Outputs for fake and real audio; those for real need a gradient only while the networks are trained."""
        training = any(parameter.requires_grad for parameter in self.networks.parameters())
        fake, real = (self._add_noise(audio, stream) for audio in (fake, real))
        with torch.set_grad_enabled(training and torch.is_grad_enabled()):
            of_real = {name: network(real) for name, network in self.networks.items()}
        return {name: (network(fake), of_real[name]) for name, network in self.networks.items()}

    def _add_noise(self, audio: Tensor, stream: RngStream) -> Tensor:
        excess = self.config.noise_below - float(self.get_buffer("recent_loss"))
        if excess <= 0:
            return audio
        return audio + stream.normal(*audio.shape) * audio.detach().std() * NOISE_PER_LOSS * excess
