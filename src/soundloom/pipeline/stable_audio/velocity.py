"""The velocity of a batch as samplers follow it: conditioned once, with classifier-free guidance where it acts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundloom.diffusion.guidance import guide, is_guided
from soundloom.engines.stable_audio import Array, Engine
from soundloom.pipeline.stable_audio.plan import BatchPlan


@dataclass(frozen=True)
class TextBatch:
    """Embedded prompts of a batch; `negative_rows` (b, s + 1, 1) multiplies the context of the negative ones.

    One token of the padding at the end of every prompt is left; it stands for `repeats` equal ones.
    """

    text: Array
    mask: np.ndarray
    negative: Array | None
    negative_mask: np.ndarray
    negative_rows: np.ndarray
    repeats: int


@dataclass(frozen=True)
class Embeddings:
    """Inputs of the transformer that all steps share: text and duration, unguided text, local conditioning.

    The token before the duration stands for `repeats` equal ones.
    """

    context: Array
    duration: Array
    uncond: Array | None
    local: Array
    repeats: int = 1

    @classmethod
    def of(cls, engine: Engine, batch: BatchPlan, text: TextBatch, local: Array) -> Embeddings:
        """Embed the prompts and durations of a batch."""
        seconds = np.array([one.seconds for one in batch.passes], dtype=np.float32)
        context, duration = engine.embed(text.text, text.mask, seconds)
        uncond = None
        if batch.first.guidance.scale != 1:
            uncond = context * 0
            if text.negative is not None:
                negative, _ = engine.embed(text.negative, text.negative_mask, seconds)
                uncond = negative * engine.array(text.negative_rows)
        return cls(context, duration, uncond, local, text.repeats)


class VelocityField:
    """The velocity of a batch; where guidance acts, both branches run in one forward pass."""

    def __init__(
        self,
        engine: Engine,
        batch: BatchPlan,
        embeddings: Embeddings,
        select_adapters: Callable[[], Hashable],
        times: Sequence[float] = (),
        is_guided_at: Callable[[Any], bool] | None = None,
    ) -> None:
        """`times` are those of the steps to come; `is_guided_at` replaces the guidance interval of the batch.

        `select_adapters` is called before each velocity: it lets the engine use the adapters of that call, and returns
        what tells them from others.
        """
        self.engine, self.embeddings, self.times = engine, embeddings, times
        self._select_adapters = select_adapters
        self.guidance, self.valid = batch.first.guidance, batch.valid
        self.zero_values = batch.compat.padding == "zero-values"
        self._is_guided = is_guided_at or (lambda t: is_guided(t, self.guidance))
        self._adapters: Hashable = None
        self._conditions: dict[bool, Any] = {}

    def _condition(self, guided: bool) -> Any:
        adapters = self._select_adapters()
        if adapters != self._adapters:  # conditions are computed by adapted layers too
            self._adapters, self._conditions = adapters, {}
        if guided not in self._conditions:
            given, join = self.embeddings, self.engine.concatenate
            context, duration, local = given.context, given.duration, given.local
            if guided:
                context, duration = join([context, given.uncond]), join([duration, duration])
                local = join([local, local]) if len(local) > 1 else local
            self._conditions[guided] = self.engine.condition(context, duration, local, given.repeats, self.times)
        return self._conditions[guided]

    def __call__(self, x: Array, t: Any) -> Array:
        guided = self._is_guided(t)
        condition = self._condition(guided)
        if not guided:
            return self.engine.velocity(x, t, condition, self.valid, self.zero_values)
        items, join = len(x), self.engine.concatenate
        twice = t if isinstance(t, float) else join([t, t])
        valid = None if self.valid is None else np.concatenate([self.valid, self.valid])
        v = self.engine.velocity(join([x, x]), twice, condition, valid, self.zero_values)
        frames = None if self.valid is None else self.engine.array(self.valid[:, None].astype(np.float32))
        return guide(x, t, v[:items], v[items:], self.guidance, frames)
