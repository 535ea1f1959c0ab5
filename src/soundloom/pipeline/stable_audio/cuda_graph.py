"""A whole clip as one program of fixed shapes, for engines that record programs and replay them.

Everything that differs between two clips of one shape is an input: conditioning, noise, source and mask, and every
number that the sampler takes from its schedule, in the order of use. What shapes the operations is the key: frames,
items, sampler, steps, guidance and the steps at which it acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.diffusion.guidance import is_guided
from soundloom.diffusion.samplers import SAMPLERS, Times
from soundloom.engines.stable_audio import Array, Engine
from soundloom.pipeline.stable_audio.chunks import decode_chunks
from soundloom.pipeline.stable_audio.plan import Batch
from soundloom.pipeline.stable_audio.velocity import VelocityField


def is_recordable(engine: Engine, batch: Batch) -> bool:
    """Whether the engine replays programs, and this batch is one: no padded frames, no noise in the autoencoder."""
    compat = batch.compat
    return engine.graphs is not None and batch.valid() is None and compat.chunks == "exact" and not compat.codec_noise


@dataclass(frozen=True)
class Uses:
    """What a sampler does with a schedule: the numbers it reads (k, b, 1, 1), its noise, where it is guided."""

    numbers: np.ndarray
    draws: tuple[int, ...]
    guided: tuple[bool, ...]

    @classmethod
    def of(cls, batch: Batch, schedule: np.ndarray) -> Uses:
        """Run the sampler of a batch over nothing and listen."""
        items = len(batch.items)
        numbers: list[np.ndarray] = []
        draws: list[int] = []
        guided: list[bool] = []
        nothing = np.zeros((items, 1, 1))

        def to_array(value: np.ndarray) -> np.ndarray:
            numbers.append(np.broadcast_to(value, items)[:, None, None])
            return numbers[-1]

        def velocity(x: np.ndarray, t: np.ndarray) -> np.ndarray:
            guided.append(is_guided(t, batch.first.guidance))
            return nothing

        def noise(step: int) -> np.ndarray:
            draws.append(step)
            return nothing

        for _ in SAMPLERS[batch.first.sampler](velocity, nothing, FollowedTimes(schedule, to_array), noise):
            pass
        return cls(np.stack(numbers).astype(np.float32), tuple(draws), tuple(guided))


class FollowedTimes(Times):
    """A schedule of whose every use somebody else decides the value."""

    def __init__(self, schedule: np.ndarray, decide: Callable[[np.ndarray], Array]) -> None:
        super().__init__(schedule)
        self._decide = decide

    def to_array(self, value: np.ndarray) -> Array:
        return self._decide(value)


class FollowedField(VelocityField):
    """A field with other arrays, guided at steps known beforehand: no value of a device may steer a recording."""

    def __init__(self, field: VelocityField, arrays: Mapping[str, Array], guided: Iterator[bool]) -> None:
        self.__dict__.update(copy(field).__dict__)
        self.context, self.duration, self.local = arrays["context"], arrays["duration"], arrays["local"]
        self.uncond = arrays.get("uncond")
        self.repeats, self._conditions, self._guided = 1, {}, guided

    def is_guided(self, t: Any) -> bool:
        return next(self._guided)


class RecordedClip:
    """Samples and decodes a batch through the engine's `replays`."""

    def __init__(
        self, engine: Engine, config: ModelConfig, batch: Batch, field: VelocityField, schedule: np.ndarray
    ) -> None:
        self.engine, self.config, self.batch, self.field, self.schedule = engine, config, batch, field, schedule
        self.uses = Uses.of(batch, schedule)

    def __call__(
        self,
        start: np.ndarray,
        draw: Callable[[int], np.ndarray],
        source: np.ndarray | None,
        keep: np.ndarray | None,
    ) -> tuple[Array, np.ndarray]:
        """Return latents and audio of a start (b, c, t); where `keep` (b, 1, t) is one, the source's latents stay."""
        array, field = self.engine.array, self.field
        inputs = {
            "x": array(start),
            "numbers": array(self.uses.numbers),
            "context": self._whole(field.context),
            "duration": field.duration,
            "local": field.local,
        }
        if self.uses.draws:
            inputs["noise"] = array(np.stack([draw(step) for step in self.uses.draws]))
        if field.uncond is not None:
            inputs["uncond"] = self._whole(field.uncond)
        if keep is not None and source is not None:
            inputs |= {"keep": array(keep), "source": array(source)}
        job = self.batch.first
        shapes = start.shape, tuple(field.local.shape)
        key = (*shapes, job.sampler, job.steps, job.guidance, self.uses.guided, *sorted(inputs))
        assert self.engine.graphs is not None
        latents, audio = self.engine.graphs(key, self._program, inputs)
        return latents, self.engine.numpy(audio)

    def _whole(self, context: Array) -> Array:
        """Return the context with all its padding, so that prompts of any length have one shape."""
        padding = [context[:, -2:-1]] * (self.field.repeats - 1)
        return self.engine.concatenate([context[:, :-1], *padding, context[:, -1:]], axis=1)

    def _program(self, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
        numbers, draws = iter(arrays["numbers"]), iter(arrays.get("noise", ()))
        field = FollowedField(self.field, arrays, iter(self.uses.guided))
        times = FollowedTimes(self.schedule, lambda value: next(numbers))
        *_, x = SAMPLERS[self.batch.first.sampler](field, arrays["x"], times, lambda step: next(draws))
        if "keep" in arrays:
            x = arrays["source"] * arrays["keep"] + x * (1 - arrays["keep"])
        plan = decode_chunks(x.shape[-1], self.config.same, "exact")
        return x, self.engine.concatenate(list(plan.stream(x, self.engine.decode_array)), axis=-1)
