"""The diffusion transformer: predicts the velocity of a noisy latent.

A block is, in order: adaptive norm, self-attention, gate; norm, cross-attention to prompt and duration; the local
condition (what is kept in an edit) through an MLP of its own; adaptive norm, feed-forward, gate.
Letters for axes: b batch, c latent channels, t latent frames, m memory tokens, s context tokens, d width.
The residual stream stays in float32 whatever the weights are. Source: stable-audio-3, models/dit.py and transformer.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.stable_audio.model import DiTConfig
from soundloom.engines.torch.blocks import (
    CrossAttention,
    FeedForward,
    Linear,
    Padding,
    RMSNorm,
    RotaryEmbedding,
    SelfAttention,
    fourier_features,
    normal,
    rope_channels,
)

NORM_EPS = 1e-5


def mlp(width_in: int, width: int, bias: bool) -> nn.Sequential:
    """Two linear layers with SiLU between them; keys end in `.0.` and `.2.`."""
    return nn.Sequential(Linear(width_in, width, bias=bias), nn.SiLU(), Linear(width, width, bias=bias))


@dataclass(frozen=True)
class Conditioning:
    """What one clip's steps share, computed once: see `DiT.condition`."""

    cross_kv: list[tuple[Tensor, ...]]  # keys and values of each block's cross-attention
    bias: Tensor | None  # (s,) added to the logits of cross-attention, for tokens that stand for several
    locals: list[Tensor] | None  # each block's local embedding (b, t or 1, d), None to leave it out
    embedding: Tensor  # (b, d) of the global condition
    modulations: dict[float, Tensor]  # (b, 6, d) at times known beforehand


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
        self.to_scale_shift_gate = nn.Parameter(normal(6 * d, scale=d**-0.5))
        self.to_local_embed = mlp(config.local_add_cond_dim, d, bias=True)

    def forward(
        self,
        h: Tensor,
        modulation: Tensor,
        memory: tuple[Tensor, ...],
        bias: Tensor | None,
        local: Tensor | None,
        rotate: RotaryEmbedding,
        padding: Padding | None,
        memory_tokens: int,
    ) -> Tensor:
        """Advance the residual stream h (b, m+t, d)."""
        steps = (modulation + self.to_scale_shift_gate.float().view(6, -1)).unsqueeze(2).unbind(1)
        scale, shift, gate, ff_scale, ff_shift, ff_gate = steps  # each (b, 1, d)
        u = torch.addcmul(shift, self.pre_norm(h), 1 + scale)
        h = torch.addcmul(h, self.self_attn(u, rotate, padding).float(), torch.sigmoid(1 - gate))
        h = h + self.cross_attn(self.cross_attend_norm(h), memory, bias)
        if local is not None:
            h[:, memory_tokens:] += local
        u = torch.addcmul(ff_shift, self.ff_norm(h), 1 + ff_scale)
        return torch.addcmul(h, self.ff(u).float(), torch.sigmoid(1 - ff_gate))


class Transformer(nn.Module):
    """The stack of blocks between its two projections, with learned memory tokens in front."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.project_in = Linear(config.io_channels, config.embed_dim, bias=False)
        self.project_out = Linear(config.embed_dim, config.io_channels, bias=False)
        self.memory_tokens = nn.Parameter(normal(config.num_memory_tokens, config.embed_dim))
        self.global_cond_embedder = nn.Sequential(
            Linear(config.embed_dim, config.embed_dim), nn.SiLU(), Linear(config.embed_dim, 6 * config.embed_dim)
        )
        self.layers = nn.ModuleList(TransformerBlock(config) for _ in range(config.depth))
        self.rope_channels = rope_channels(config.head_dim)

    def modulation(self, embedding: Tensor) -> Tensor:
        """Return what all blocks share (…, 6, d) of the embedding (…, d) of time and duration, in float32."""
        return self.global_cond_embedder(embedding).float().unflatten(-1, (6, -1))

    def forward(self, x: Tensor, modulation: Tensor, condition: Conditioning, padding: Padding | None) -> Tensor:
        """Map x (b, t, c) to (b, t, c) under a modulation (b, 6, d)."""
        b, m = x.shape[0], self.memory_tokens.shape[0]
        memory = self.memory_tokens.float().expand(b, -1, -1)
        h = torch.cat([memory, self.project_in(x).float()], dim=1)  # (b, m+t, d)
        rotate = RotaryEmbedding.table(h.shape[1], self.rope_channels, h.device)
        padding = padding.extended(m) if padding else None
        for i, layer in enumerate(self.layers):
            local = condition.locals[i] if condition.locals else None
            h = layer(h, modulation, condition.cross_kv[i], condition.bias, local, rotate, padding, m)
        return self.project_out(h[:, m:])


class DiT(nn.Module):
    """Velocity of latents x (b, c, t) at times t (b,), given a `Conditioning`."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        c, d = config.io_channels, config.embed_dim
        self.to_timestep_embed = mlp(config.timestep_features_dim, d, bias=True)
        self.to_cond_embed = mlp(config.cond_token_dim, d, bias=False)
        self.to_global_embed = mlp(config.global_cond_dim, d, bias=False)
        self.preprocess_conv = nn.Conv1d(c, c, 1, bias=False)
        self.transformer = Transformer(config)
        self.postprocess_conv = nn.Conv1d(c, c, 1, bias=False)

    def attend_in(self, dtype: torch.dtype) -> None:
        """Give self-attention a dtype of its own, but for a differential one: what it subtracts would cancel."""
        if self.config.differential:
            return
        for layer in self.transformer.layers:
            assert isinstance(layer, TransformerBlock)
            layer.self_attn.attention_dtype = dtype

    def condition(
        self,
        context: Tensor,
        duration: Tensor,
        local: Tensor | None,
        repeats: int = 1,
        times: Sequence[float] = (),
    ) -> Conditioning:
        """Compute what all steps share.

        context (b, s, cond_token_dim) holds prompt and duration tokens, duration (b, global_cond_dim) the latter
        alone; local (b, 1 + c, t) the mask (1 keeps) and the masked latents. Text to audio feeds zeros, whose biases
        act: pass them with t = 1, and one constant serves all frames. None leaves the local layers out. The token
        before the duration, padding, stands for `repeats` equal ones. Steps at `times` find their modulation ready.
        """
        dtype = self.preprocess_conv.weight.dtype
        exact = dtype == torch.float32 or (context.is_cpu and dtype == torch.bfloat16)  # see `split_heads`
        context, bias = without_repetition(context, repeats, exact)
        tokens = self.to_cond_embed(context)
        layers = [layer for layer in self.transformer.layers if isinstance(layer, TransformerBlock)]
        embedding = self.to_global_embed(duration)
        modulations = {}
        if times:
            at_times = self._modulation(torch.tensor(times, device=context.device), embedding[:, None])
            modulations = dict(zip(times, at_times.unbind(1), strict=True))
        return Conditioning(
            cross_kv=[layer.cross_attn.project_kv(tokens) for layer in layers],
            bias=bias,
            locals=None if local is None else [layer.to_local_embed(local.transpose(1, 2)) for layer in layers],
            embedding=embedding,
            modulations=modulations,
        )

    def forward(self, x: Tensor, t: Tensor | float, condition: Conditioning, padding: Padding | None = None) -> Tensor:
        """Return the velocity (b, c, t) in float32; t is (b,), or one time for all items."""
        modulation = condition.modulations.get(t) if isinstance(t, float) else None
        if modulation is None:
            times = torch.full((x.shape[0],), t, device=x.device) if isinstance(t, float) else t
            modulation = self._modulation(times, condition.embedding)
        h = pointwise(self.preprocess_conv, x.transpose(1, 2))
        y = self.transformer(h, modulation, condition, padding)
        return pointwise(self.postprocess_conv, y).transpose(1, 2).float()

    def _modulation(self, times: Tensor, embedding: Tensor) -> Tensor:
        """Return the modulation (…, k, 6, d) at times (k,) under an embedding (…, k or 1, d) of the duration."""
        features = fourier_features(times, self.config.timestep_features_dim)
        return self.transformer.modulation(embedding + self.to_timestep_embed(features))


def without_repetition(context: Tensor, repeats: int, exact: bool) -> tuple[Tensor, Tensor | None]:
    """Return context (b, s, d) whose last token but one stands for `repeats` equal ones, and a bias of logits (s,).

    The bias gives that token the weight of all. Where logits are not `exact`, in float32, it would be rounded, and
    the context returns with all its tokens.
    """
    if repeats == 1:
        return context, None
    if not exact:
        *_, padding, duration = context.split(1, dim=1)
        return torch.cat([context[:, :-2], padding.expand(-1, repeats, -1), duration], dim=1), None
    bias = torch.zeros(context.shape[1], device=context.device)
    bias[-2].fill_(math.log(repeats))
    return context, bias


def pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Apply a convolution of kernel 1 to x (b, t, c), plus x itself."""
    return F.linear(x.to(conv.weight.dtype), conv.weight[:, :, 0]) + x
