"""Prompts of a batch: token weights in embedding space, and blends of two prompts.

Weights follow the published MLX runtime (optimized/mlx/scripts/prompt_weighting.py): a token's embedding e becomes
p + w · (e - p), where p is the model's embedding of padding, so that weight 0 removes a token and 1 changes nothing.
Here it is computed as e + (w - 1) · (e - p), which is e itself at weight 1, bit for bit. Nested groups multiply, a
token that is weighted in part gets the mean of its characters instead of none, and negative prompts take weights too.
Models without an embedding of padding have p = 0.

A blend by a number interpolates the two contexts token by token, by position, padding included: where the longer
prompt has a token and the shorter has none, that token moves towards the embedding of padding, as its weight would
lower it. The duration is the same in both, so it stays as it is.

A blend by a curve cannot be one context, for each frame attends to all tokens. The network evaluates both contexts in
each step instead, as it does for guidance, and the two velocities are crossfaded frame by frame. No pass is added,
the clip stays one sample of one noise, and neighboring frames of a region know each other across it. Rendering two
clips and crossfading their audio would mix two unrelated performances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soundloom.config.stable_audio.mix import Curve
from soundloom.engines.stable_audio import Array, Engine
from soundloom.pipeline.stable_audio.plan import BatchPlan, PlannedPass
from soundloom.prompts import Style, parse_weights
from soundloom.text.tokenizer import Tokenizer, Tokens
from soundloom.text.weights import token_weights


@dataclass(frozen=True)
class PromptTokens:
    """The tokens of prompts without their weights, and the weights (b, s), None if all are 1."""

    tokens: Tokens
    weights: np.ndarray | None

    @classmethod
    def of(cls, prompts: Sequence[str], tokenize: Tokenizer, length: int, style: Style) -> PromptTokens:
        """Tokenize prompts, which may hold weights of the given style."""
        parsed = [parse_weights(prompt, style) for prompt in prompts]
        tokens = tokenize([prompt.text for prompt in parsed], length)
        if not any(prompt.spans for prompt in parsed):
            return cls(tokens, None)
        rows = [token_weights(prompt, tokenize.spans, length, whole=style == "flat") for prompt in parsed]
        return cls(tokens, np.stack(rows))

    def first(self, count: int) -> PromptTokens:
        """Return the first `count` tokens of each prompt."""
        return PromptTokens(self.tokens.first(count), None if self.weights is None else self.weights[:, :count])

    @property
    def key(self) -> tuple[bytes, ...]:
        """What tells these prompts from others."""
        weights = b"" if self.weights is None else self.weights.tobytes()
        return self.tokens.ids.tobytes(), self.tokens.mask.tobytes(), weights

    def encode(self, engine: Engine) -> EncodedPrompts:
        """Run the text encoder."""
        return EncodedPrompts(engine.encode_text(self.tokens.ids, self.tokens.mask), self.tokens.mask, self.weights)


@dataclass(frozen=True)
class EncodedPrompts:
    """Text embeddings (b, s, d) of prompts, the mask (b, s) of their tokens, and their weights (b, s)."""

    text: Array
    mask: np.ndarray
    weights: np.ndarray | None = None

    def embed(self, engine: Engine, seconds: np.ndarray) -> tuple[Array, Array]:
        """Return the context (b, s + 1, d) with the weights applied, and the duration alone (b, d)."""
        context, duration = engine.embed(self.text, self.mask, seconds)
        if self.weights is None:
            return context, duration
        padding, _ = engine.embed(self.text * 0, np.zeros_like(self.mask), seconds)
        beyond_one = np.pad(self.weights - 1, ((0, 0), (0, 1)))[..., None]  # the duration is last
        return context + engine.array(beyond_one.astype(np.float32)) * (context - padding), duration


def shares(batch: BatchPlan) -> np.ndarray:
    """Return the share of the second prompt in each pass, (b, 1, 1), float32; 0 without one."""
    mixes = [one.clip.request.blend[2] for one in batch.passes]
    return np.array([0.0 if isinstance(mix, tuple) else mix for mix in mixes], dtype=np.float32)[:, None, None]


def frame_shares(batch: BatchPlan, frame_seconds: float) -> np.ndarray | None:
    """Return the share of the second prompt in each frame, (b, 1, t), float32; None unless shares follow curves."""
    curves = [one.clip.request.blend[2] for one in batch.passes]
    if not any(isinstance(curve, tuple) for curve in curves):
        return None
    rows = [
        shares_at(curve, frame_times(one, batch.frames, frame_seconds))
        for one, curve in zip(batch.passes, curves, strict=True)
        if isinstance(curve, tuple)
    ]
    return np.stack(rows)[:, None].astype(np.float32)


def frame_times(one: PlannedPass, frames: int, frame_seconds: float) -> np.ndarray:
    """Return the middle of each latent frame of a pass, in seconds of the clip; a loop repeats from its start."""
    times = one.start + (np.arange(frames) + 0.5) * frame_seconds
    return times % one.clip.seconds if one.clip.request.loop else times


def shares_at(curve: Curve, times: np.ndarray) -> np.ndarray:
    """Return the values of a curve at times in seconds."""
    points, values = zip(*curve, strict=True)
    return np.interp(times, points, values)
