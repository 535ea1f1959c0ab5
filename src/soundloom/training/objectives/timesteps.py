"""Timesteps of flow matching, 1 for noise and 0 for data: sampling, shifting, adding noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.diffusion.schedules import warp
from soundloom.training.config import DiTTrainingConfig
from soundloom.training.loop.rng import RngStream

TRUNCATION = 0.075  # of the logit-normal distribution


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
    if config.timesteps == "logsnr-uniform":
        low, high = config.logsnr
        return torch.sigmoid(-(low + (high - low) * u))
    lowest = torch.special.ndtr(torch.tensor(math.log(TRUNCATION / (1 - TRUNCATION))))
    signal = torch.sigmoid(torch.special.ndtri(lowest + (1 - lowest) * u.clamp(1e-6, 1 - 1e-6)))
    return 1 - (signal - TRUNCATION) / (1 - TRUNCATION)
