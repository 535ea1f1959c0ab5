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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.stable_audio.model import DiTConfig
from soundloom.engines.factor_cache import FactorCache
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
from soundloom.engines.torch.branches import Branch, LowRankBranch
from soundloom.lora.branches import LayerBranch

NORM_EPS = 1e-5


def mlp(width_in: int, width: int, bias: bool) -> nn.Sequential:
    """Two linear layers with SiLU between them; keys end in `.0.` and `.2.`."""
    return nn.Sequential(Linear(width_in, width, bias=bias), nn.SiLU(), Linear(width, width, bias=bias))


@dataclass(frozen=True)
class Conditioning:
    """Inputs shared by all steps of a batch, computed once by `DiT.condition`."""

    cross_kv: list[tuple[Tensor, ...]]  # of each block
    bias: Tensor | None  # (s,) added to cross-attention logits, for tokens that stand for several
    local_embeds: list[Tensor] | None  # (b, t or 1, d) of each block; None skips the local layers
    embedding: Tensor  # (b, d) of the duration
    modulations: dict[float, Tensor]  # (b, 6, d) at times known in advance


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
        cross_kv: tuple[Tensor, ...],
        bias: Tensor | None,
        local_embed: Tensor | None,
        rotary: RotaryEmbedding,
        padding: Padding | None,
        memory_tokens: int,
    ) -> Tensor:
        """Advance the residual stream h (b, m+t, d)."""
        steps = (modulation + self.to_scale_shift_gate.float().view(6, -1)).unsqueeze(2).unbind(1)
        scale, shift, gate, ff_scale, ff_shift, ff_gate = steps  # each (b, 1, d)
        u = torch.addcmul(shift, self.pre_norm(h), 1 + scale)
        h = torch.addcmul(h, self.self_attn(u, rotary, padding).float(), torch.sigmoid(1 - gate))
        h = h + self.cross_attn(self.cross_attend_norm(h), cross_kv, bias)
        if local_embed is not None:
            h[:, memory_tokens:] += local_embed
        u = torch.addcmul(ff_shift, self.ff_norm(h), 1 + ff_scale)
        return torch.addcmul(h, self.ff(u).float(), torch.sigmoid(1 - ff_gate))


class Transformer(nn.Module):
    """The stack of blocks between two projections; learned memory tokens precede the latents."""

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
        """Return the modulation (…, 6, d), float32, of the embedding (…, d) of time and duration."""
        return self.global_cond_embedder(embedding).float().unflatten(-1, (6, -1))

    def forward(self, x: Tensor, modulation: Tensor, cond: Conditioning, padding: Padding | None) -> Tensor:
        """Map x (b, t, c) to (b, t, c) under a modulation (b, 6, d)."""
        b, m = x.shape[0], self.memory_tokens.shape[0]
        memory = self.memory_tokens.float().expand(b, -1, -1)
        h = torch.cat([memory, self.project_in(x).float()], dim=1)  # (b, m+t, d)
        rotary = RotaryEmbedding.table(h.shape[1], self.rope_channels, h.device)
        padding = padding.extended(m) if padding else None
        for i, layer in enumerate(self.layers):
            local_embed = cond.local_embeds[i] if cond.local_embeds else None
            h = layer(h, modulation, cond.cross_kv[i], cond.bias, local_embed, rotary, padding, m)
        return self.project_out(h[:, m:])


class PointwiseConv(nn.Conv1d):
    """A convolution of kernel size 1 around which its input is added."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 1, bias=False)
        self.branch: Branch | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map x (b, t, c) to (b, t, c)."""
        return (self.product(x) if self.branch is None else self.branch(x, self.product)) + x

    def product(self, x: Tensor) -> Tensor:
        """Apply the convolution alone to x (b, t, c)."""
        return F.linear(x.to(self.weight.dtype), self.weight[:, :, 0])

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> LowRankBranch:
        """Return a branch of adapters for this layer."""
        return LowRankBranch.of(branch, self.weight.device, self.weight.dtype, cache)


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

    def attend_in(self, dtype: torch.dtype) -> None:
        """Set the dtype of self-attention, unless it is differential: its difference would cancel in half precision."""
        if self.config.differential:
            return
        for layer in self.transformer.layers:
            assert isinstance(layer, TransformerBlock)
            layer.self_attn.attention_dtype = dtype

    def condition(
        self,
        context: Tensor,
        duration: Tensor,
        local_cond: Tensor | None,
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
            local_embeds=None
            if local_cond is None
            else [layer.to_local_embed(local_cond.transpose(1, 2)) for layer in layers],
            embedding=embedding,
            modulations=modulations,
        )

    def forward(self, x: Tensor, t: Tensor | float, cond: Conditioning, padding: Padding | None = None) -> Tensor:
        """Return the velocity (b, c, t) in float32; t is (b,), or a float for all items."""
        modulation = cond.modulations.get(t) if isinstance(t, float) else None
        if modulation is None:
            times = torch.full((x.shape[0],), t, device=x.device) if isinstance(t, float) else t
            modulation = self._modulation(times, cond.embedding)
        h = self.preprocess_conv(x.transpose(1, 2))
        y = self.transformer(h, modulation, cond, padding)
        return self.postprocess_conv(y).transpose(1, 2).float()

    def _modulation(self, times: Tensor, embedding: Tensor) -> Tensor:
        """Return the modulation (…, k, 6, d) at times (k,) for a duration embedding (…, k or 1, d)."""
        features = fourier_features(times, self.config.timestep_features_dim)
        return self.transformer.modulation(embedding + self.to_timestep_embed(features))


def without_repetition(context: Tensor, repeats: int, exact: bool) -> tuple[Tensor, Tensor | None]:
    """Return context (b, s, d), whose last token but one stands for `repeats` equal ones, and a bias of logits (s,).

    The bias gives that token the softmax weight of all. Unless logits are `exact` (float32), the bias would be rounded;
    then the token is repeated instead and the bias is None.
    """
    if repeats == 1:
        return context, None
    if not exact:
        *_, padding, duration = context.split(1, dim=1)
        return torch.cat([context[:, :-2], padding.expand(-1, repeats, -1), duration], dim=1), None
    bias = torch.zeros(context.shape[1], device=context.device)
    bias[-2].fill_(math.log(repeats))
    return context, bias
