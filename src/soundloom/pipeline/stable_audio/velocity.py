"""The velocity of a batch as samplers follow it: conditioned once, with classifier-free guidance where it acts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundloom.diffusion.guidance import guide, is_guided
from soundloom.engines.stable_audio import Array, Engine
from soundloom.pipeline.stable_audio.plan import BatchPlan
from soundloom.pipeline.stable_audio.prompts import EncodedPrompts, frame_shares, shares


@dataclass(frozen=True)
class TextBatch:
    """Encoded prompts of a batch, the second ones of blends, and the negative ones.

    `negative_rows` (b, s + 1, 1) multiplies the context of the negative ones. One token of the padding at the end of
    every prompt is left; it stands for `repeats` equal ones.
    """

    prompts: EncodedPrompts
    second: EncodedPrompts | None
    negative: EncodedPrompts | None
    negative_rows: np.ndarray
    repeats: int


@dataclass(frozen=True)
class Embeddings:
    """Inputs of the transformer that all steps share: text and duration, unguided text, local conditioning.

    The token before the duration stands for `repeats` equal ones. Where `frame_shares` (b, 1, t) is given, it is the
    share of the velocity with the context `second` in each frame.
    """

    context: Array
    duration: Array
    uncond: Array | None
    local: Array
    repeats: int = 1
    second: Array | None = None
    frame_shares: Array | None = None

    @classmethod
    def of(cls, engine: Engine, batch: BatchPlan, text: TextBatch, local: Array, frame_seconds: float) -> Embeddings:
        """Embed the prompts and durations of a batch; a latent frame lasts `frame_seconds`."""
        seconds = np.array([one.seconds for one in batch.passes], dtype=np.float32)
        context, duration = text.prompts.embed(engine, seconds)
        second = in_frames = None
        if text.second is not None:
            second, _ = text.second.embed(engine, seconds)
            curves = frame_shares(batch, frame_seconds)
            if curves is None:
                context, second = context + engine.array(shares(batch)) * (second - context), None
            else:
                in_frames = engine.array(curves)
        uncond = None
        if batch.first.guidance.scale != 1:
            uncond = context * 0
            if text.negative is not None:
                negative, _ = text.negative.embed(engine, seconds)
                uncond = negative * engine.array(text.negative_rows)
        return cls(context, duration, uncond, local, text.repeats, second, in_frames)

    def contexts(self, guided: bool) -> list[Array]:
        """Return the contexts of one step: of the prompt, of the second one, and of the unguided velocity."""
        return [
            context for context in (self.context, self.second, self.uncond if guided else None) if context is not None
        ]


class VelocityField:
    """The velocity of a batch: where guidance acts or two prompts are crossfaded, all contexts run in one pass."""

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
            given, contexts = self.embeddings, self.embeddings.contexts(guided)
            context, duration = self._joined(contexts), self._joined([given.duration] * len(contexts))
            local = self._joined([given.local] * len(contexts)) if len(given.local) > 1 else given.local
            self._conditions[guided] = self.engine.condition(context, duration, local, given.repeats, self.times)
        return self._conditions[guided]

    def _joined(self, parts: Sequence[Array]) -> Array:
        return self.engine.concatenate(parts) if len(parts) > 1 else parts[0]

    def __call__(self, x: Array, t: Any) -> Array:
        guided = self._is_guided(t)
        condition = self._condition(guided)
        items, count = len(x), len(self.embeddings.contexts(guided))
        times = t if isinstance(t, float) else self._joined([t] * count)
        valid = None if self.valid is None else np.concatenate([self.valid] * count)
        v = self.engine.velocity(self._joined([x] * count), times, condition, valid, self.zero_values)
        cond = v[:items]
        if self.embeddings.frame_shares is not None:
            share = self.embeddings.frame_shares
            cond = (1 - share) * cond + share * v[items : 2 * items]
        if not guided:
            return cond
        frames = None if self.valid is None else self.engine.array(self.valid[:, None].astype(np.float32))
        return guide(x, t, cond, v[-items:], self.guidance, frames)
