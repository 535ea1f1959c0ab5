"""Few-step training: jump from any point of the teacher's guided path to its end.

Guidance enters the weights, and the network learns to answer with finished latents, which ping-pong sampling expects.
Source: the warm-up of adversarial post-training as published for Stable Audio 3.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from soundloom.config.models import ShiftConfig
from soundloom.diffusion.samplers import Times, dpmpp_2m
from soundloom.diffusion.schedules import schedule
from soundloom.training.config import DistillationConfig
from soundloom.training.dit import Batch, Clips, Generator, loss_by_frames
from soundloom.training.loop import Draws

SMALLEST_TIME = 1e-4  # below which a clean estimate says nothing about the velocity


@dataclass(frozen=True)
class Path:
    """Points of the teacher's way (k + 1, b, c, t) at times (k + 1,); the last one is the target."""

    points: Tensor
    times: Tensor


class DistillationStage:
    """The student starts as a copy of the teacher, which stays as it is."""

    def __init__(self, generator: Generator, clips: Clips, config: DistillationConfig, shift: ShiftConfig) -> None:
        self.module, self.clips, self.config = generator, clips, config
        self.teacher = copy.deepcopy(generator).eval().requires_grad_(False)
        self.schedule = schedule(config.teacher_steps, shift=shift)
        self._known: dict[int, tuple[int, Batch, Path]] = {}  # of each part of a step

    def losses(self, step: int, draws: Draws) -> dict[str, Tensor]:
        """Predict the end of a path from one random point of it, another for each item."""
        student: Generator = self.module
        batch, path = self._path(step, draws)
        items = torch.arange(len(batch.data), device=batch.data.device)
        chosen = draws.tensor(draws.rng.integers(self.config.teacher_steps, size=len(items)))
        x, t = path.points[chosen, items], path.times[chosen]
        embedded = student.embed(batch.ids, batch.mask, batch.seconds)
        clean = x - t[:, None, None] * student(batch, x, t, embedded)
        error = (clean - path.points[-1]).square().mean(1)
        # An error of the clean estimate, over t squared, is one of the velocity; over t it is halfway between.
        made, _ = loss_by_frames(error / t.clamp_min(SMALLEST_TIME)[:, None], batch)
        return {"loss": made}

    def _path(self, step: int, own: Draws) -> tuple[Batch, Path]:
        """The path that this step shares with its neighbours; after a resume it is walked again, to the same place."""
        origin = step - step % self.config.refresh_every
        if own.part not in self._known or self._known[own.part][0] != origin:
            draws = Draws(self.config.loop.seed + 1, origin, own.part, own.device)
            batch = self.clips.draw(self.config.batch, draws)
            self._known[own.part] = origin, batch, self._walk(batch, draws.normal(*batch.data.shape))
        return self._known[own.part][1:]

    @torch.no_grad()
    def _walk(self, batch: Batch, noise: Tensor) -> Path:
        context, duration = self.teacher.embed(batch.ids, batch.mask, batch.seconds)
        both = _twice(batch)
        embedded = torch.cat([context, torch.zeros_like(context)]), torch.cat([duration, duration])

        def velocity(x: Tensor, t: float) -> Tensor:
            times = torch.full((len(both.data),), t, device=x.device)
            asked, free = self.teacher(both, torch.cat([x, x]), times, embedded).chunk(2)
            return free + self.config.guidance * (asked - free)

        points = [noise, *dpmpp_2m(velocity, noise, Times(self.schedule), lambda step: noise)]
        return Path(torch.stack(points), torch.from_numpy(self.schedule).float().to(noise.device))


def _twice(batch: Batch) -> Batch:
    """The batch behind itself, for the guided and the free pass."""
    return batch.mapped(lambda value: torch.cat([value, value]))
