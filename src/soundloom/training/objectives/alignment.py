"""Diffusion alignment: a small transformer learns to denoise the latents while they are made, and shapes them.

Its loss can be had cheaply by shrinking the latents; the bottleneck's norm, the reconstruction and noise that follows
the latents' size prevent that. Source: SAME, as described for its training code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from soundloom.config.stable_audio.model import DiTConfig, FeedForwardConfig
from soundloom.engines.torch.stable_audio.dit import DiT
from soundloom.training.config import AlignmentConfig, DiTTrainingConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.timesteps import noisy, sample_timesteps, stratified

HEAD_WIDTH, FF_MULT, TIME_FEATURES = 64, 2.0, 512
MEMORY = 0.99  # of the running deviation of the latents


class DiffusionAlignment(nn.Module):
    """An unconditional flow-matching model of latents (b, d, t), and how large they have been."""

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
        """Squared error of the velocity, and that of answering zero, beside which it means something."""
        self._follow(latents)
        t = sample_timesteps(self.times, stratified(stream, len(latents)))
        noise = stream.normal(*latents.shape) * self.get_buffer("deviation")
        target = noise - (latents.detach() if self.config.detach_target else latents)
        nothing = self.dit.condition(latents.new_zeros(len(latents), 1, 1), latents.new_zeros(len(latents), 1), None)
        made = self.dit(noisy(latents, noise, t), t, nothing)
        return {"alignment": (made - target).square().mean(), "alignment_zero": target.detach().square().mean()}

    @torch.no_grad()
    def _follow(self, latents: Tensor) -> None:
        if self.training:
            self.get_buffer("deviation").lerp_(latents.std(), 1 - MEMORY)
