"""Reference trajectories: velocities of the full model, against which quantized weights are compared."""

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
    """The transformer's context (b, s, d) and durations (b, d), as NumPy arrays for any engine."""

    context: np.ndarray
    duration: np.ndarray

    def velocity(self, engine: Engine, x: np.ndarray, time: float) -> np.ndarray:
        """Return an engine's velocity of a latent x (b, c, t), without inpainting."""
        local_cond = engine.array(np.zeros((1, 1 + x.shape[1], 1), np.float32))
        conditioning = engine.condition(engine.array(self.context), engine.array(self.duration), local_cond)
        return engine.numpy(engine.velocity(engine.array(x), time, conditioning, None))

    def sample(self, engine: Engine, x: np.ndarray) -> tuple[list[TrajectoryPoint], np.ndarray]:
        """Sample from noise x with Euler steps at `TIMES`; return the points of the trajectory and the latents."""
        points = []
        for time, next_time in pairwise((*TIMES, 0.0)):
            points.append(TrajectoryPoint(time, x, self.velocity(engine, x, time)))
            x = x + np.float32(next_time - time) * points[-1].velocity
        return points, x


@dataclass(frozen=True)
class TrajectoryPoint:
    """A latent x (b, c, t) of a trajectory, its time and its velocity."""

    time: float
    x: np.ndarray
    velocity: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """The full model's trajectory from noise to latents."""

    conditioning: PromptConditioning
    points: list[TrajectoryPoint]
    latents: np.ndarray

    @classmethod
    def record(cls, model: Model, seconds: float, prompts: Sequence[str] = PROMPTS, seed: int = 0) -> Trajectory:
        """Sample the full model, one clip per prompt with seeds from `seed` on."""
        config, conditioning = model.config, _embed(model, prompts, seconds)
        frames = max(round(seconds * config.sample_rate / config.same.downsampling_ratio), 1)
        noise = batch_noise(list(range(seed, seed + len(prompts))), 0, config.dit.io_channels, frames)
        return cls(conditioning, *conditioning.sample(model.engine, noise))

    def velocities(self, engine: Engine) -> list[np.ndarray]:
        """Return an engine's velocities at the points of the trajectory."""
        return [self.conditioning.velocity(engine, point.x, point.time) for point in self.points]

    def error(self, engine: Engine) -> float:
        """Return the energy of an engine's velocity errors over that of the full model's; free the engine."""
        errors = (energy(v - p.velocity) for v, p in zip(self.velocities(engine), self.points, strict=True))
        error = sum(errors) / sum(energy(point.velocity) for point in self.points)
        engine.free("dit")
        return error


def energy(values: np.ndarray) -> float:
    """Return the sum of squares."""
    return float(np.square(values, dtype=np.float64).sum())


def _embed(model: Model, prompts: Sequence[str], seconds: float) -> PromptConditioning:
    config, engine, files = model.config, model.engine, model.checkpoint.text_encoder
    if files is None:
        raise CheckpointError(
            f"{model.name} has no text encoder, which quantization needs to measure errors", "put it next to the model"
        )
    tokenize = Tokenizer(files.tokenizer, files.config.pad_token_id, files.config.vocab_size)
    tokens = tokenize(prompts, config.model.conditioning.prompt.max_length)
    text = engine.encode_text(tokens.ids, tokens.mask)
    context, duration = engine.embed(text, tokens.mask, np.full(len(prompts), seconds, np.float32))
    engine.free("text", "conditioner")
    return PromptConditioning(engine.numpy(context), engine.numpy(duration))
