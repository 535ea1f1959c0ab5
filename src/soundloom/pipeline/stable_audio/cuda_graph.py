"""Sample and decode a clip as one program of fixed shapes, for engines that capture CUDA graphs and replay them.

Everything that differs between two clips of one shape is an input: conditioning, noise, source and mask, and every
number that the sampler reads from its schedule, in the order of use. Everything that shapes the operations is in the
key: frames, batch size, sampler, steps, guidance and the steps at which it acts, and the structure of adapters, whose
values are read from fixed buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.diffusion.samplers import SAMPLERS
from soundloom.engines.stable_audio import Array, Engine
from soundloom.pipeline.stable_audio.adapters import AdapterSchedule
from soundloom.pipeline.stable_audio.chunks import decode_chunks
from soundloom.pipeline.stable_audio.plan import BatchPlan
from soundloom.pipeline.stable_audio.trace import SamplerTrace, TracedTimes
from soundloom.pipeline.stable_audio.velocity import Embeddings, VelocityField


def is_capturable(engine: Engine, batch: BatchPlan, adapters: AdapterSchedule) -> bool:
    """Return whether the engine captures graphs and can capture the batch.

    It cannot capture padded frames, noise in the autoencoder, and more sets of adapters than fit in memory.
    """
    compat = batch.compat
    is_plain = batch.valid is None and compat.chunks == "exact" and not compat.codec_noise
    return engine.graphs is not None and is_plain and adapters.is_resident


class CapturedClip:
    """Samples and decodes a batch through the engine's captured graphs."""

    def __init__(
        self,
        engine: Engine,
        config: ModelConfig,
        batch: BatchPlan,
        embeddings: Embeddings,
        adapters: AdapterSchedule,
    ) -> None:
        self.engine, self.config, self.batch, self.adapters = engine, config, batch, adapters
        self.embeddings, self.trace = embeddings, SamplerTrace.of(batch)

    def __call__(
        self,
        start: np.ndarray,
        noise: Callable[[int], np.ndarray],
        source: np.ndarray | None,
        keep: np.ndarray | None,
    ) -> tuple[Array, np.ndarray]:
        """Return latents and audio of a start (b, c, t); where `keep` (b, 1, t) is one, the source's latents stay."""
        array, given = self.engine.array, self.embeddings
        inputs = {
            "x": array(start),
            "numbers": array(self.trace.numbers),
            "context": self._with_padding(given.context),
            "duration": given.duration,
            "local": given.local,
        }
        if self.trace.noise_steps:
            inputs["noise"] = array(np.stack([noise(step) for step in self.trace.noise_steps]))
        if given.uncond is not None:
            inputs["uncond"] = self._with_padding(given.uncond)
        if given.second is not None and given.frame_shares is not None:
            inputs |= {"second": self._with_padding(given.second), "frame_shares": given.frame_shares}
        if keep is not None and source is not None:
            inputs |= {"keep": array(keep), "source": array(source)}
        clip, shapes = self.batch.first, (start.shape, tuple(given.local.shape))
        key = (
            *shapes,
            clip.sampler,
            clip.steps,
            clip.guidance,
            self.trace.guided,
            self.adapters.structure,
            *sorted(inputs),
        )
        assert self.engine.graphs is not None
        latents, audio = self.engine.graphs(key, self._program, inputs)
        return latents, self.engine.numpy(audio)

    def _with_padding(self, context: Array) -> Array:
        """Return the context with all its padding, so that prompts of any length have one shape."""
        padding = [context[:, -2:-1]] * (self.embeddings.repeats - 1)
        return self.engine.concatenate([context[:, :-1], *padding, context[:, -1:]], axis=1)

    def _program(self, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
        numbers, noise = iter(arrays["numbers"]), iter(arrays.get("noise", ()))
        embeddings = Embeddings(
            arrays["context"],
            arrays["duration"],
            arrays.get("uncond"),
            arrays["local"],
            second=arrays.get("second"),
            frame_shares=arrays.get("frame_shares"),
        )
        guided = iter(self.trace.guided)  # no value on the device may steer a captured graph
        select = self.adapters.calls()
        field = VelocityField(self.engine, self.batch, embeddings, select, is_guided_at=lambda t: next(guided))
        times = TracedTimes(self.batch.times, lambda value: next(numbers))
        *_, x = SAMPLERS[self.batch.first.sampler](field, arrays["x"], times, lambda step: next(noise))
        if "keep" in arrays:
            x = arrays["source"] * arrays["keep"] + x * (1 - arrays["keep"])
        plan = decode_chunks(x.shape[-1], self.config.same, "exact")
        return x, self.engine.concatenate(list(plan.stream(x, self.engine.decode_array)), axis=-1)
