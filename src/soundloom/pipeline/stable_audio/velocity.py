"""The velocity of a batch as samplers follow it: conditioned once, guided where guidance acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundloom.diffusion.guidance import guide, is_guided
from soundloom.engines.stable_audio import Array, Engine
from soundloom.pipeline.stable_audio.plan import Batch
from soundloom.text.tokenizer import Tokens


@dataclass(frozen=True)
class TextBatch:
    """Embedded prompts of a batch; `negative_rows` (b, s + 1, 1) multiplies the context of the negative ones.

    Of the padding that ends every prompt one token is kept, which stands for `repeats` equal ones.
    """

    text: Array
    mask: np.ndarray
    negative: Array | None
    negative_mask: np.ndarray
    negative_rows: np.ndarray
    repeats: int


class VelocityField:
    """The velocity of a batch, guided where guidance acts, both branches in one pass."""

    def __init__(
        self, engine: Engine, batch: Batch, text: TextBatch, local: Array, times: Sequence[float] = ()
    ) -> None:
        self.times, self.repeats = times, text.repeats
        self.engine, self.guidance, self.text = engine, batch.first.guidance, text
        self.zero_values = batch.compat.padding == "zero-values"
        self.valid = batch.valid()
        self.local = local
        seconds = np.array([item.seconds for item in batch.items], dtype=np.float32)
        self.context, self.duration = engine.embed(text.text, text.mask, seconds)
        self.uncond = self._unguided_context(seconds) if self.guidance.scale != 1 else None
        self._conditions: dict[bool, Any] = {}

    def _unguided_context(self, seconds: np.ndarray) -> Array:
        """Return the context of the other branch: zeros, or a negative prompt."""
        if self.text.negative is None:
            return self.context * 0
        context, _ = self.engine.embed(self.text.negative, self.text.negative_mask, seconds)
        return context * self.engine.array(self.text.negative_rows)

    def _condition(self, guided: bool) -> Any:
        if guided not in self._conditions:
            join, local = self.engine.concatenate, self.local
            context, duration = self.context, self.duration
            if guided:
                context, duration = join([context, self.uncond]), join([duration, duration])
                local = join([local, local]) if len(local) > 1 else local
            self._conditions[guided] = self.engine.condition(context, duration, local, self.repeats, self.times)
        return self._conditions[guided]

    def is_guided(self, t: Any) -> bool:
        """Whether the step at time t needs both branches."""
        return is_guided(t, self.guidance)

    def __call__(self, x: Array, t: Any) -> Array:
        guided = self.is_guided(t)
        condition = self._condition(guided)
        if not guided:
            return self.engine.velocity(x, t, condition, self.valid, self.zero_values)
        items, join = len(x), self.engine.concatenate
        twice = t if isinstance(t, float) else join([t, t])
        valid = None if self.valid is None else np.concatenate([self.valid, self.valid])
        v = self.engine.velocity(join([x, x]), twice, condition, valid, self.zero_values)
        frames = None if self.valid is None else self.engine.array(self.valid[:, None].astype(np.float32))
        return guide(x, t, v[:items], v[items:], self.guidance, frames)


def negative_rows(negatives: Sequence[str | None], tokens: Tokens, learned: bool) -> np.ndarray:
    """Return (b, s + 1, 1) of ones and zeros: the rows of the negative context that count, duration last.

    Without a negative prompt none do, as in training. With one, the duration does, and the published package also
    blanks the rows without a token, while its MLX runtime leaves the learned padding in them.
    """
    rows = np.concatenate([tokens.mask | learned, np.ones((len(negatives), 1), dtype=bool)], axis=1)
    rows &= np.array([negative is not None for negative in negatives])[:, None]
    return rows.astype(np.float32)[..., None]
