"""The diffusion transformer, which predicts the velocity of a noisy latent.

A block is, in order: adaptive norm, self-attention, gate; norm, cross-attention to prompt and duration; the local
conditioning (the preserved latents of an edit) through its own MLP; adaptive norm, feed-forward, gate.
Letters for axes: b batch, c latent channels, t latent frames, m memory tokens, s context tokens, d width.
The residual stream is float32 for any dtype of the weights. Source: stable-audio-3, models/dit.py and transformer.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
from mlx import nn

from soundloom.config.stable_audio.model import DiTConfig
from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.mlx.blocks import (
    CrossAttention,
    FeedForward,
    Linear,
    Padding,
    RMSNorm,
    RotaryEmbedding,
    SelfAttention,
    SiLU,
    add_gated,
    fourier_features,
    modulate,
    rope_channels,
    sequence,
)
from soundloom.engines.mlx.branches import Branch, LowRankBranch
from soundloom.engines.mlx.graph import after
from soundloom.lora.branches import LayerBranch

NORM_EPS = 1e-5


def mlp(width_in: int, width: int, bias: bool) -> list[nn.Module]:
    """Two linear layers with SiLU between them; keys end in `.0.` and `.2.`."""
    return [Linear(width_in, width, bias=bias), SiLU(), Linear(width, width, bias=bias)]


@dataclass(frozen=True)
class Conditioning:
    """Inputs shared by all steps of a batch, computed once by `DiT.condition`."""

    cross_kv: list[tuple[mx.array, ...]]  # of each block
    bias: mx.array | None  # (s,) added to cross-attention logits, for tokens that stand for several
    local_embeds: list[mx.array] | None  # (b, t or 1, d) of each block; None skips the local layers
    embedding: mx.array  # (b, d) of the duration
    modulations: dict[float, mx.array]  # (b, 6, d) at times known in advance


class TransformerBlock(nn.Module):
    """One block; `modulation` (b, 6, d) holds scale, shift and gate of the attention, then of the feed-forward."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        d, head_dim, differential = config.embed_dim, config.head_dim, config.differential
        self.pre_norm = RMSNorm(d, NORM_EPS)
        self.self_attn = SelfAttention(d, head_dim, RMSNorm, differential)
        self.cross_attend_norm = RMSNorm(d, NORM_EPS)
        self.cross_attn = CrossAttention(d, head_dim, RMSNorm, differential)
        self.ff_norm = RMSNorm(d, NORM_EPS)
        self.ff = FeedForward(d, config.ff_inner)
        self.to_scale_shift_gate = mx.random.normal((6 * d,)) / d**0.5
        self.to_local_embed = mlp(config.local_add_cond_dim, d, bias=True)

    def __call__(
        self,
        h: mx.array,
        modulation: mx.array,
        cross_kv: tuple[mx.array, ...],
        bias: mx.array | None,
        local_embed: mx.array | None,
        rotary: RotaryEmbedding,
        padding: Padding | None,
        memory_tokens: int,
    ) -> mx.array:
        """Advance the residual stream h (b, m+t, d)."""
        steps = mx.split(modulation + self.to_scale_shift_gate.astype(mx.float32).reshape(6, -1), 6, axis=1)
        scale, shift, gate, ff_scale, ff_shift, ff_gate = steps  # each (b, 1, d)
        u = modulate(self.pre_norm(h), scale, shift)
        h = add_gated(h, self.self_attn(u, rotary, padding), gate)
        h = h + self.cross_attn(self.cross_attend_norm(h), cross_kv, bias)
        if local_embed is not None:
            h[:, memory_tokens:] += local_embed
        u = modulate(self.ff_norm(h), ff_scale, ff_shift)
        return add_gated(h, self.ff(u), ff_gate)


class Transformer(nn.Module):
    """The stack of blocks between two projections; learned memory tokens precede the latents."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.project_in = Linear(config.io_channels, config.embed_dim, bias=False)
        self.project_out = Linear(config.embed_dim, config.io_channels, bias=False)
        self.memory_tokens = mx.random.normal((config.num_memory_tokens, config.embed_dim))
        self.global_cond_embedder = [
            Linear(config.embed_dim, config.embed_dim),
            SiLU(),
            Linear(config.embed_dim, 6 * config.embed_dim),
        ]
        self.layers = [TransformerBlock(config) for _ in range(config.depth)]
        self.rope_channels = rope_channels(config.head_dim)

    def modulation(self, embedding: mx.array) -> mx.array:
        """Return the modulation (…, 6, d), float32, of the embedding (…, d) of time and duration."""
        return sequence(self.global_cond_embedder, embedding).astype(mx.float32).reshape(*embedding.shape[:-1], 6, -1)

    def __call__(self, x: mx.array, modulation: mx.array, cond: Conditioning, padding: Padding | None) -> mx.array:
        """Map x (b, t, c) to (b, t, c) under a modulation (b, 6, d)."""
        b, (m, d) = x.shape[0], self.memory_tokens.shape
        memory = mx.broadcast_to(self.memory_tokens.astype(mx.float32), (b, m, d))
        h = mx.concatenate([memory, self.project_in(x).astype(mx.float32)], axis=1)  # (b, m+t, d)
        rotary = RotaryEmbedding.table(h.shape[1], self.rope_channels)
        padding = padding.extended(m) if padding else None
        for i, layer in enumerate(self.layers):
            local_embed = cond.local_embeds[i] if cond.local_embeds else None
            h = layer(h, modulation, cond.cross_kv[i], cond.bias, local_embed, rotary, padding, m)
        return self.project_out(h[:, m:])


class PointwiseConv(nn.Module):
    """A convolution of kernel size 1, to whose output its input is added.

    Its weight has the checkpoint's layout (out, in, kernel), unlike nn.Conv1d's.
    """

    branch: Branch | None = None

    def __init__(self, channels: int) -> None:
        super().__init__()
        bound = channels**-0.5
        self.weight = mx.random.uniform(-bound, bound, (channels, channels, 1))

    def __call__(self, x: mx.array) -> mx.array:
        """Map x (b, t, c) to (b, t, c)."""
        return (self.product(x) if self.branch is None else self.branch(x, self.product)) + x

    def product(self, x: mx.array) -> mx.array:
        """Apply the convolution alone to x (b, t, c)."""
        return x.astype(self.weight.dtype) @ self.weight[:, :, 0].T

    def transposed_product(self, y: mx.array) -> mx.array:
        """Multiply y (…, out) by the transposed weight."""
        return y.astype(self.weight.dtype) @ self.weight[:, :, 0]

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> LowRankBranch:
        """Return a branch of adapters for this layer."""
        return LowRankBranch.of(branch, self.weight.dtype, cache)

    def rows(self, chosen: slice, earlier: mx.array) -> mx.array:
        """Return rows of the weight (out, in) in float32, computed after `earlier`."""
        return after(earlier, self.weight)[chosen, :, 0].astype(mx.float32)


class DiT(nn.Module):
    """Velocity of latents x (b, c, t) at times t (b,), given a `Conditioning`."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        c, d = config.io_channels, config.embed_dim
        self.to_timestep_embed = mlp(config.timestep_features_dim, d, bias=True)
        self.to_cond_embed = mlp(config.cond_token_dim, d, bias=False)
        self.to_global_embed = mlp(config.global_cond_dim, d, bias=False)
        self.preprocess_conv = PointwiseConv(c)
        self.transformer = Transformer(config)
        self.postprocess_conv = PointwiseConv(c)

    def condition(
        self,
        context: mx.array,
        duration: mx.array,
        local_cond: mx.array | None,
        repeats: int = 1,
        times: Sequence[float] = (),
    ) -> Conditioning:
        """Compute the inputs that all steps share.

        `context` (b, s, cond_token_dim) holds prompt and duration tokens, `duration` (b, global_cond_dim) the duration
        alone. `local_cond` (b, 1 + c, t) is the inpainting mask (1 preserves) and the masked latents. For text to audio
        pass zeros with t = 1: the biases of the local layers still act, equally on all frames. None skips these layers.
        The token before the duration is padding that stands for `repeats` equal tokens. The modulation at `times` is
        computed in advance.
        """
        context, bias = without_repetition(context, repeats, self.preprocess_conv.weight.dtype == mx.float32)
        tokens = sequence(self.to_cond_embed, context)
        layers, local_embeds = self.transformer.layers, None
        if local_cond is not None:
            local_embeds = [sequence(layer.to_local_embed, local_cond.swapaxes(1, 2)) for layer in layers]
        embedding = sequence(self.to_global_embed, duration)
        modulations = {}
        if times:
            at_times = self._modulation(mx.array(list(times)), embedding[:, None])
            modulations = {t: at_times[:, i] for i, t in enumerate(times)}
        return Conditioning(
            cross_kv=[layer.cross_attn.project_kv(tokens) for layer in layers],
            bias=bias,
            local_embeds=local_embeds,
            embedding=embedding,
            modulations=modulations,
        )

    def __call__(
        self, x: mx.array, t: mx.array | float, cond: Conditioning, padding: Padding | None = None
    ) -> mx.array:
        """Return the velocity (b, c, t) in float32; t is (b,), or a float for all items."""
        modulation = cond.modulations.get(t) if isinstance(t, float) else None
        if modulation is None:
            times = mx.full((x.shape[0],), t) if isinstance(t, float) else t
            modulation = self._modulation(times, cond.embedding)
        h = self.preprocess_conv(x.swapaxes(1, 2))
        y = self.transformer(h, modulation, cond, padding)
        return self.postprocess_conv(y).swapaxes(1, 2).astype(mx.float32)

    def _modulation(self, times: mx.array, embedding: mx.array) -> mx.array:
        """Return the modulation (…, k, 6, d) at times (k,) for a duration embedding (…, k or 1, d)."""
        features = fourier_features(times, self.config.timestep_features_dim)
        return self.transformer.modulation(embedding + sequence(self.to_timestep_embed, features))


def without_repetition(context: mx.array, repeats: int, exact: bool) -> tuple[mx.array, mx.array | None]:
    """Return context (b, s, d), whose last token but one stands for `repeats` equal ones, and a bias of logits (s,).

    The bias gives that token the softmax weight of all. Unless logits are `exact` (float32), the bias would be rounded;
    then the token is repeated instead and the bias is None.
    """
    if repeats == 1:
        return context, None
    if not exact:
        padding = mx.repeat(context[:, -2:-1], repeats, axis=1)
        return mx.concatenate([context[:, :-2], padding, context[:, -1:]], axis=1), None
    bias = mx.zeros((context.shape[1],))
    bias[-2] = math.log(repeats)
    return context, bias
