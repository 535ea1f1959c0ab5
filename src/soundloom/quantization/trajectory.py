"""Real forwards of a model, on which weights in fewer bits are compared with the full ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from soundloom.diffusion.noise import batch_noise
from soundloom.engines.stable_audio import Engine
from soundloom.errors import CheckpointError
from soundloom.pipeline.stable_audio.model import Model
from soundloom.text.tokenizer import Tokenizer

TIMES = (1.0, 0.75, 0.5, 0.25)
PROMPTS = ("kick drum loop, 120 BPM", "a small bell rings once", "rain on a tin roof")


@dataclass(frozen=True)
class PromptConditioning:
    """What the transformer attends to, (b, s, d), and the durations, (b, d); arrays that any engine takes."""

    context: np.ndarray
    duration: np.ndarray

    def velocity(self, engine: Engine, x: np.ndarray, time: float) -> np.ndarray:
        """Return an engine's velocity of a latent x (b, c, t) in which nothing is kept."""
        local = engine.array(np.zeros((1, 1 + x.shape[1], 1), np.float32))
        condition = engine.condition(engine.array(self.context), engine.array(self.duration), local)
        return engine.numpy(engine.velocity(engine.array(x), time, condition, None))

    def path(self, engine: Engine, x: np.ndarray) -> tuple[list[TrajectoryPoint], np.ndarray]:
        """Follow an engine from noise, with an Euler step for each of `TIMES`; return the path and where it ends."""
        points = []
        for time, following in pairwise((*TIMES, 0.0)):
            points.append(TrajectoryPoint(time, x, self.velocity(engine, x, time)))
            x = x + np.float32(following - time) * points[-1].velocity
        return points, x


@dataclass(frozen=True)
class TrajectoryPoint:
    """A latent x (b, c, t) on a path, its time, and the velocity there."""

    time: float
    x: np.ndarray
    velocity: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """The path of the full model from noise to latents, to hold others against."""

    conditions: PromptConditioning
    points: list[TrajectoryPoint]
    latents: np.ndarray

    @classmethod
    def record(cls, model: Model, seconds: float, prompts: Sequence[str] = PROMPTS, seed: int = 0) -> Trajectory:
        """Follow the full model; one clip for each prompt, seeds counting up from `seed`."""
        config, conditions = model.config, _embed(model, prompts, seconds)
        frames = max(round(seconds * config.sample_rate / config.same.downsampling_ratio), 1)
        noise = batch_noise(list(range(seed, seed + len(prompts))), 0, config.dit.io_channels, frames)
        return cls(conditions, *conditions.path(model.engine, noise))

    def velocities(self, engine: Engine) -> list[np.ndarray]:
        """Return an engine's velocities at the points of the path."""
        return [self.conditions.velocity(engine, point.x, point.time) for point in self.points]

    def error(self, velocities: Sequence[np.ndarray]) -> float:
        """Return the energy of the velocities' error over that of the full model's velocities."""
        wanted = [point.velocity for point in self.points]
        return sum(energy(v - w) for v, w in zip(velocities, wanted, strict=True)) / sum(map(energy, wanted))


def energy(values: np.ndarray) -> float:
    """Sum of squares."""
    return float(np.square(values, dtype=np.float64).sum())


def _embed(model: Model, prompts: Sequence[str], seconds: float) -> PromptConditioning:
    config, engine, files = model.config, model.engine, model.checkpoint.text_encoder
    if files is None:
        raise CheckpointError(f"{model.name} has no text encoder; measuring needs prompts", "put it beside the model")
    tokenize = Tokenizer(files.tokenizer, files.config.pad_token_id, files.config.vocab_size)
    tokens = tokenize(prompts, config.model.conditioning.prompt.max_length)
    text = engine.encode_text(tokens.ids, tokens.mask)
    context, duration = engine.embed(text, tokens.mask, np.full(len(prompts), seconds, np.float32))
    engine.free("text", "conditioner")
    return PromptConditioning(engine.numpy(context), engine.numpy(duration))
