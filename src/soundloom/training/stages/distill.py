"""Distill the generator for few steps: predict the end of the teacher's guided path from any point on it.

The weights absorb guidance, and the network learns to predict clean latents, which ping-pong sampling expects.
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
from soundloom.training.loop.logging import Preview
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import TrainingTask
from soundloom.training.objectives.timesteps import add_noise
from soundloom.training.stages.context import StableAudioContext
from soundloom.training.stages.dit import loss_weights, masked_losses
from soundloom.training.stages.previews import samples
from soundloom.training.stages.run import run_stage

MIN_TIME = 1e-4  # below which a clean estimate does not determine the velocity


def run(context: StableAudioContext, config: DistillConfig) -> bool:
    """Train the generator to predict the end of its guided paths in one step."""

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        generator, clips = context.starting_generator("distill"), context.clips()
        task = DistillTask(generator, clips, config, context.model.model.diffusion.sampling_shift)
        return task, samples(generator, context.autoencoder, clips, context.model, few=True)

    return run_stage(context, "distill", config, build)


@dataclass(frozen=True)
class Path:
    """Points (k + 1, b, c, t) of the teacher's path at times (k + 1,); the last one is the target."""

    points: Tensor
    times: Tensor


@dataclass(frozen=True)
class OneStepTargets:
    """Clean latents (b, c, t) to predict in one step from points (b, c, t) at times (b,)."""

    points: Tensor
    times: Tensor
    targets: Tensor


class DistillTask:
    """Train a student that starts as a copy of its frozen teacher.

    Raises ConfigError where no step of the teacher lies in the range to distill.
    """

    def __init__(self, generator: Generator, clips: EncodedClips, config: DistillConfig, shift: ShiftConfig) -> None:
        self.module, self.clips, self.config = generator, clips, config
        self.teacher = copy.deepcopy(generator).eval().requires_grad_(False)
        times = schedule(config.teacher_steps, shift=shift)
        self.distilled, self.preserved = times[times <= config.distill_below], times[times > config.distill_below]
        if len(self.distilled) < 2:
            raise ConfigError(
                f"none of {config.teacher_steps} steps starts at or below distill_below, {config.distill_below:g}",
                f"the last one starts at {times[-2]:.3g}",
            )
        self._paths: dict[int, tuple[int, TrainingBatch, Path]] = {}  # by micro-batch

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the end of a path from one random point for each item."""
        student: Generator = self.module
        batch, path = self._path(step, stream)
        chosen = self._with_teacher_predictions(batch, _sample_points(path, stream), stream)
        embedded = student.embed(batch.ids, batch.mask, batch.seconds)
        clean = chosen.points - chosen.times[:, None, None] * student(batch, chosen.points, chosen.times, embedded)
        # An error of the clean estimate divided by t squared is that of the velocity; divided by t it is in between.
        weight = loss_weights(batch, self.clips.config.loss_weighting) / chosen.times.clamp_min(MIN_TIME)
        error = (clean - chosen.targets).square().mean(1) * weight[:, None]
        loss, _ = masked_losses(error, batch)
        if not len(self.preserved):
            return {"loss": loss}
        distilled, _ = masked_losses(error * (chosen.times <= self.config.distill_below)[:, None], batch)
        return {"loss": loss, "distilled": distilled, "preserved": loss - distilled}

    @torch.no_grad()
    def _with_teacher_predictions(
        self, batch: TrainingBatch, targets: OneStepTargets, stream: RngStream
    ) -> OneStepTargets:
        """Move some items to times above the range to distill, where the target is the teacher's clean estimate."""
        share = len(self.preserved) / self.config.teacher_steps
        chosen = stream.tensor(stream.rng.random(len(batch.data)) < share)
        if not chosen.any():
            return targets
        some = batch.map(lambda value: value[chosen])
        times = stream.tensor(stream.rng.choice(self.preserved, len(some.data)).astype(np.float32))
        points = add_noise(some.data, stream.normal(*some.data.shape), times)
        clean = points - times[:, None, None] * self._velocity(some)(points, times)
        return OneStepTargets(
            targets.points.index_put((chosen,), points),
            targets.times.index_put((chosen,), times),
            targets.targets.index_put((chosen,), clean),
        )

    def _path(self, step: int, own: RngStream) -> tuple[TrainingBatch, Path]:
        """Return the path that this step shares with its neighbors; a resumed run computes the same one again."""
        origin = step - step % self.config.refresh_every
        if own.micro_batch not in self._paths or self._paths[own.micro_batch][0] != origin:
            stream = RngStream(self.config.loop.seed + 1, origin, own.micro_batch, own.device)
            batch = self.clips.sample(self.config.batch_size, stream)
            self._paths[own.micro_batch] = origin, batch, self._solve(batch, stream)
        return self._paths[own.micro_batch][1:]

    @torch.no_grad()
    def _solve(self, batch: TrainingBatch, stream: RngStream) -> Path:
        """Solve the teacher's ODE from clips with noise of the highest time to distill; at 1 that is noise alone."""
        times = stream.tensor(self.distilled.astype(np.float32))
        start = add_noise(batch.data, stream.normal(*batch.data.shape), times[:1])
        points = [start, *dpmpp_2m(self._velocity(batch), start, Times(self.distilled), lambda step: start)]
        return Path(torch.stack(points), times)

    def _velocity(self, batch: TrainingBatch) -> Callable[[Tensor, float | Tensor], Tensor]:
        """Return the teacher's velocity with guidance, at one time or at one for each item."""
        context, duration = self.teacher.embed(batch.ids, batch.mask, batch.seconds)
        scale = self.config.guidance

        def velocity(x: Tensor, t: float | Tensor) -> Tensor:
            times = torch.as_tensor(t, device=x.device).expand(len(x))
            conditional = self.teacher(batch, x, times, (context, duration))
            if scale == 1:
                return conditional
            unconditional = self.teacher(batch, x, times, (torch.zeros_like(context), duration))
            return unconditional + scale * (conditional - unconditional)

        return velocity


def _sample_points(path: Path, stream: RngStream) -> OneStepTargets:
    """Sample one point of the path for each item."""
    items = torch.arange(path.points.shape[1], device=path.points.device)
    chosen = stream.tensor(stream.rng.integers(len(path.times) - 1, size=len(items)))
    return OneStepTargets(path.points[chosen, items], path.times[chosen], path.points[-1])
