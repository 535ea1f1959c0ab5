"""Few-step training: jump from any point of the teacher's guided path to its end.

Guidance enters the weights, and the network learns to answer with finished latents, which ping-pong sampling expects.
Source: the warm-up of adversarial post-training as published for Stable Audio 3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.diffusion.samplers import Times, dpmpp_2m
from soundloom.diffusion.schedules import schedule
from soundloom.errors import ConfigError
from soundloom.training.config import DistillConfig
from soundloom.training.data.batches import EncodedClips, TrainingBatch
from soundloom.training.init.generator import Generator
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.timesteps import add_noise
from soundloom.training.stages.dit import loss_weights, masked_losses

SMALLEST_TIME = 1e-4  # below which a clean estimate says nothing about the velocity


@dataclass(frozen=True)
class Path:
    """Points of the teacher's way (k + 1, b, c, t) at times (k + 1,); the last one is the target."""

    points: Tensor
    times: Tensor


@dataclass(frozen=True)
class Jumps:
    """From points (b, c, t) at times (b,) to their ends (b, c, t)."""

    points: Tensor
    times: Tensor
    ends: Tensor


class DistillTask:
    """The student starts as a copy of the teacher, which stays as it is.

    Raises ConfigError where there is nothing to jump from.
    """

    def __init__(self, generator: Generator, clips: EncodedClips, config: DistillConfig, shift: ShiftConfig) -> None:
        self.module, self.clips, self.config = generator, clips, config
        self.teacher = copy.deepcopy(generator).eval().requires_grad_(False)
        times = schedule(config.teacher_steps, shift=shift)
        self.jumped, self.kept = times[times <= config.distill_below], times[times > config.distill_below]
        if len(self.jumped) < 2:
            raise ConfigError(
                f"none of {config.teacher_steps} steps begins at or below distill_below, {config.distill_below:g}",
                f"the last one begins at {times[-2]:.3g}",
            )
        self._known: dict[int, tuple[int, TrainingBatch, Path]] = {}  # of each part of a step

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the end of a path from one random point of it, another for each item."""
        student: Generator = self.module
        batch, path = self._path(step, stream)
        jumps = self._with_kept_answers(batch, _jumps(path, stream), stream)
        embedded = student.embed(batch.ids, batch.mask, batch.seconds)
        clean = jumps.points - jumps.times[:, None, None] * student(batch, jumps.points, jumps.times, embedded)
        # An error of the clean estimate, over t squared, is one of the velocity; over t it is halfway between.
        weight = loss_weights(batch, self.clips.config.loss_weighting) / jumps.times.clamp_min(SMALLEST_TIME)
        error = (clean - jumps.ends).square().mean(1) * weight[:, None]
        loss, _ = masked_losses(error, batch)
        if not len(self.kept):
            return {"loss": loss}
        jumped, _ = masked_losses(error * (jumps.times <= self.config.distill_below)[:, None], batch)
        return {"loss": loss, "jumped": jumped, "kept": loss - jumped}

    @torch.no_grad()
    def _with_kept_answers(self, batch: TrainingBatch, jumps: Jumps, stream: RngStream) -> Jumps:
        """Give some items more noise than is jumped from, and there the clean estimate of the teacher as their end."""
        chosen = stream.tensor(stream.rng.random(len(batch.data)) < len(self.kept) / self.config.teacher_steps)
        if not chosen.any():
            return jumps
        some = batch.map(lambda value: value[chosen])
        times = stream.tensor(stream.rng.choice(self.kept, len(some.data)).astype(np.float32))
        points = add_noise(some.data, stream.normal(*some.data.shape), times)
        ends = points - times[:, None, None] * self._velocity(some)(points, times)
        return Jumps(
            jumps.points.index_put((chosen,), points),
            jumps.times.index_put((chosen,), times),
            jumps.ends.index_put((chosen,), ends),
        )

    def _path(self, step: int, own: RngStream) -> tuple[TrainingBatch, Path]:
        """The path that this step shares with its neighbors; after a resume it is walked again, to the same place."""
        origin = step - step % self.config.refresh_every
        if own.part not in self._known or self._known[own.part][0] != origin:
            stream = RngStream(self.config.loop.seed + 1, origin, own.part, own.device)
            batch = self.clips.sample(self.config.batch_size, stream)
            self._known[own.part] = origin, batch, self._walk(batch, stream)
        return self._known[own.part][1:]

    @torch.no_grad()
    def _walk(self, batch: TrainingBatch, stream: RngStream) -> Path:
        """A path from the highest time that is jumped from: from noise, or from clips with so much of it."""
        times = stream.tensor(self.jumped.astype(np.float32))
        start = add_noise(batch.data, stream.normal(*batch.data.shape), times[:1])
        points = [start, *dpmpp_2m(self._velocity(batch), start, Times(self.jumped), lambda step: start)]
        return Path(torch.stack(points), times)

    def _velocity(self, batch: TrainingBatch) -> Callable[[Tensor, float | Tensor], Tensor]:
        """The teacher's, with guidance, at a time or at one for each item."""
        context, duration = self.teacher.embed(batch.ids, batch.mask, batch.seconds)
        scale = self.config.guidance

        def velocity(x: Tensor, t: float | Tensor) -> Tensor:
            times = torch.as_tensor(t, device=x.device).expand(len(x))
            asked = self.teacher(batch, x, times, (context, duration))
            if scale == 1:
                return asked
            free = self.teacher(batch, x, times, (torch.zeros_like(context), duration))
            return free + scale * (asked - free)

        return velocity


def _jumps(path: Path, stream: RngStream) -> Jumps:
    """One random point of the path for each item."""
    items = torch.arange(path.points.shape[1], device=path.points.device)
    chosen = stream.tensor(stream.rng.integers(len(path.times) - 1, size=len(items)))
    return Jumps(path.points[chosen, items], path.times[chosen], path.points[-1])
