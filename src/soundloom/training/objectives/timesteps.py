"""Timesteps of flow matching, 1 for noise and 0 for data: sampling, shifting, adding noise."""

from __future__ import annotations

import torch
from torch import Tensor

from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.diffusion.schedules import warp
from soundloom.diffusion.timesteps import logsnr_uniform, truncated_logit_normal
from soundloom.training.config import DiTTrainingConfig
from soundloom.training.loop.rng import RngStream


def add_noise(data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Interpolate latents (b, c, t) linearly from data to noise at timesteps (b,)."""
    t = t[:, None, None]
    return (1 - t) * data + t * noise


def stratified(stream: RngStream, count: int) -> Tensor:
    """Sample (count,) uniform values, one from each of `count` equal strata of [0, 1), in random order."""
    strata = stream.tensor(stream.rng.permutation(count))
    return (strata + stream.uniform(count)) / count


def shift_timesteps(t: Tensor, lengths: Tensor, shift: ShiftConfig) -> Tensor:
    """Shift timesteps (b,) as published training does: towards noise for longer clips (b,), in latents."""
    moved = warp(t.double().cpu().numpy(), lengths.double().cpu().numpy(), shift)
    return torch.from_numpy(moved).to(t)


def sample_timesteps(config: DiTTrainingConfig, u: Tensor) -> Tensor:
    """Map uniform samples (b,) to timesteps (b,) in (0, 1] by an inverse distribution function."""
    if config.timesteps == "uniform":
        return u.clamp_min(1e-4)
    draws = u.double().clamp(1e-6, 1 - 1e-6).cpu().numpy()
    logsnr = config.timesteps == "logsnr-uniform"
    return torch.from_numpy(logsnr_uniform(draws, *config.logsnr) if logsnr else truncated_logit_normal(draws)).to(u)
