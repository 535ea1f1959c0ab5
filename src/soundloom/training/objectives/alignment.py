"""Diffusion alignment: train the autoencoder so that a small diffusion transformer can denoise its latents.

Small latents would lower this loss trivially; the norm of the bottleneck, the reconstruction losses and noise that
scales with the latents prevent that. Source: SAME, as described for its training code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from soundloom.config.stable_audio.model import DiTConfig, FeedForwardConfig
from soundloom.engines.torch.stable_audio.dit import DiT
from soundloom.training.config import AlignmentConfig, DiTTrainingConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.timesteps import add_noise, sample_timesteps, stratified

HEAD_WIDTH, FF_MULT, TIME_FEATURES = 64, 2.0, 512
MOMENTUM = 0.99  # of the running deviation of the latents


class DiffusionAlignment(nn.Module):
    """An unconditional flow-matching model of latents (b, d, t), with their running standard deviation."""

    def __init__(self, config: AlignmentConfig, times: DiTTrainingConfig, latent_dim: int) -> None:
        super().__init__()
        self.config, self.times = config, times
        self.dit = DiT(
            DiTConfig(
                io_channels=latent_dim,
                embed_dim=config.width,
                depth=config.depth,
                num_heads=config.width // HEAD_WIDTH,
                cond_token_dim=1,
                global_cond_dim=1,
                local_add_cond_dim=1,
                ff_kwargs=FeedForwardConfig(mult=FF_MULT),
                timestep_features_dim=TIME_FEATURES,
            )
        )
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, latents: Tensor, stream: RngStream) -> dict[str, Tensor]:
        """Return the squared error of the velocity, and for comparison that of predicting zero."""
        self._track(latents)
        t = sample_timesteps(self.times, stratified(stream, len(latents)))
        noise = stream.normal(*latents.shape) * self.get_buffer("deviation")
        target = noise - (latents.detach() if self.config.detach_target else latents)
        condition = self.dit.condition(latents.new_zeros(len(latents), 1, 1), latents.new_zeros(len(latents), 1), None)
        velocity = self.dit(add_noise(latents, noise, t), t, condition)
        return {"alignment": (velocity - target).square().mean(), "alignment_zero": target.detach().square().mean()}

    @torch.no_grad()
    def _track(self, latents: Tensor) -> None:
        if self.training:
            self.get_buffer("deviation").lerp_(latents.std(), 1 - MOMENTUM)
