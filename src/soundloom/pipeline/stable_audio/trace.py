"""What a sampler does on a batch, found by running it on zeros: it never branches on values of latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from soundloom.diffusion.guidance import is_guided
from soundloom.diffusion.samplers import SAMPLERS, Times
from soundloom.engines.stable_audio import Array
from soundloom.pipeline.stable_audio.plan import BatchPlan


@dataclass(frozen=True)
class SamplerTrace:
    """What a sampler reads: numbers of its schedule (k, b, 1, 1), the steps that need noise, where guidance acts.

    `calls` are the step, from 1, and the time of each velocity that it asks for; the time is that of the first item.
    """

    numbers: np.ndarray
    noise_steps: tuple[int, ...]
    guided: tuple[bool, ...]
    calls: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, batch: BatchPlan) -> SamplerTrace:
        """Run the sampler of a batch on zeros and record what it reads."""
        items = len(batch.passes)
        numbers: list[np.ndarray] = []
        noise_steps: list[int] = []
        guided: list[bool] = []
        calls: list[tuple[int, float]] = []
        step = 1
        zeros = np.zeros((items, 1, 1))

        def to_array(value: np.ndarray) -> np.ndarray:
            numbers.append(np.broadcast_to(value, items)[:, None, None])
            return numbers[-1]

        def velocity(x: np.ndarray, t: np.ndarray) -> np.ndarray:
            guided.append(is_guided(t, batch.first.guidance))
            calls.append((step, float(np.float32(t.flat[0]))))  # networks are given float32 times
            return zeros

        def noise(step: int) -> np.ndarray:
            noise_steps.append(step)
            return zeros

        for _ in SAMPLERS[batch.first.sampler](velocity, zeros, TracedTimes(batch.times, to_array), noise):
            step += 1
        return cls(np.stack(numbers).astype(np.float32), tuple(noise_steps), tuple(guided), tuple(calls))


class TracedTimes(Times):
    """A schedule whose values a function sees, and may replace, when the sampler reads them."""

    def __init__(self, schedule: np.ndarray, read: Callable[[np.ndarray], Array]) -> None:
        super().__init__(schedule)
        self._read = read

    def to_array(self, value: np.ndarray) -> Array:
        return self._read(value)
