"""Times of flow matching, 1 for noise and 0 for data: how they are drawn, and what latents look like there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.diffusion.schedules import warp
from soundloom.training.config import DiTTrainingConfig
from soundloom.training.loop.rng import RngStream

TRUNCATION = 0.075  # of the logit-normal distribution of times


def noisy(data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Latents (b, c, t) on the straight path from data to noise at times (b,)."""
    t = t[:, None, None]
    return (1 - t) * data + t * noise


def stratified(stream: RngStream, count: int) -> Tensor:
    """Uniform draws (count,), one from each of `count` equal parts of [0, 1), in random order."""
    parts = stream.tensor(stream.rng.permutation(count))
    return (parts + stream.uniform(count)) / count


def shifted(t: Tensor, lengths: Tensor, shift: ShiftConfig) -> Tensor:
    """Move times (b,) as published training does: longer items (b,), in latents, towards noise."""
    moved = warp(t.double().cpu().numpy(), lengths.double().cpu().numpy(), shift)
    return torch.from_numpy(moved).to(t)


def sample_timesteps(config: DiTTrainingConfig, u: Tensor) -> Tensor:
    """Map uniform draws (b,) to times (b,) in (0, 1] by the inverse of a distribution function."""
    if config.timesteps == "uniform":
        return u.clamp_min(1e-4)
    if config.timesteps == "logsnr-uniform":
        low, high = config.logsnr
        return torch.sigmoid(-(low + (high - low) * u))
    lowest = torch.special.ndtr(torch.tensor(math.log(TRUNCATION / (1 - TRUNCATION))))
    signal = torch.sigmoid(torch.special.ndtri(lowest + (1 - lowest) * u.clamp(1e-6, 1 - 1e-6)))
    return 1 - (signal - TRUNCATION) / (1 - TRUNCATION)
