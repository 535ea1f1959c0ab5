"""The text encoder: the bidirectional encoder stack of T5Gemma, with norms before and after each branch.

Norm gains are stored minus one. The configuration may cap attention logits by a tanh. The embedding table stays in the
dtype of its file, since a prompt reads only a few rows; everything else computes in one dtype.
Letters for axes: b batch, s tokens, d width. Source: transformers, models/t5gemma; Gemma 2 report.
"""

from __future__ import annotations

import math

import mlx.core as mx
from mlx import nn

from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.engines.mlx.blocks import Linear, RotaryEmbedding, apply_rotary, rms_norm
from soundloom.engines.mlx.graph import fused


class GemmaNorm(nn.Module):
    """Root mean square norm with the gain 1 + weight; computes in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = mx.zeros((width,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        return rms_norm(x, 1 + self.weight.astype(mx.float32), self.eps)


class TextAttention(nn.Module):
    """Self-attention over the valid tokens; logits are capped before masking."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.scale, self.cap = config.query_pre_attn_scalar**-0.5, config.attn_logit_softcapping
        self.q_proj = Linear(config.hidden_size, self.heads * self.head_dim, bias=False)
        self.k_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = Linear(self.heads * self.head_dim, config.hidden_size, bias=False)

    def __call__(self, x: mx.array, rotary: RotaryEmbedding, mask: mx.array) -> mx.array:
        """Attend over x (b, s, d); mask (b, 1, 1, s) is True at valid tokens."""
        b, s, _ = x.shape
        q, k, v = (
            projection(x).reshape(b, s, -1, self.head_dim).swapaxes(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        repeats = self.heads // self.kv_heads
        k, v = mx.repeat(apply_rotary(k, rotary), repeats, axis=1), mx.repeat(v, repeats, axis=1)
        logits = apply_rotary(q, rotary) @ k.swapaxes(-1, -2) * self.scale
        if self.cap is not None:
            logits = self.cap * mx.tanh(logits / self.cap)
        logits = mx.where(mask, logits.astype(mx.float32), mx.finfo(mx.float32).min)
        weights = mx.softmax(logits, axis=-1).astype(v.dtype)
        return self.o_proj((weights @ v).swapaxes(1, 2).reshape(b, s, -1))


@fused
def gelu_gated(gate: mx.array, value: mx.array) -> mx.array:
    """Multiply by a GELU gate, approximated by tanh."""
    return 0.5 * gate * (1 + mx.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate * gate * gate))) * value


class TextMLP(nn.Module):
    """Feed-forward layer gated by an approximate GELU."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(gelu_gated(self.gate_proj(x), self.up_proj(x)))


class TextBlock(nn.Module):
    """Attention, then feed-forward, each between two norms."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.pre_self_attn_layernorm, self.post_self_attn_layernorm = GemmaNorm(width, eps), GemmaNorm(width, eps)
        self.self_attn = TextAttention(config)
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = GemmaNorm(width, eps), GemmaNorm(width, eps)
        self.mlp = TextMLP(config)

    def __call__(self, h: mx.array, rotary: RotaryEmbedding, mask: mx.array) -> mx.array:
        attended = self.self_attn(self.pre_self_attn_layernorm(h), rotary, mask)
        h = h + self.post_self_attn_layernorm(attended)
        return h + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(h)))


class T5GemmaEncoder(nn.Module):
    """Encode token ids (b, s) with mask (b, s), True at valid tokens, as embeddings (b, s, d)."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [TextBlock(config) for _ in range(config.num_hidden_layers)]
        self.norm = GemmaNorm(config.hidden_size, config.rms_norm_eps)

    def __call__(self, ids: mx.array, mask: mx.array) -> mx.array:
        dtype = self.norm.weight.dtype
        # The published encoder rounds the factor to the working dtype too.
        h = self.embed_tokens(ids).astype(dtype) * mx.array(self.config.hidden_size**0.5, dtype=dtype)
        rotary = RotaryEmbedding.table(ids.shape[1], self.config.head_dim, self.config.rope_theta)
        valid = mask.astype(mx.bool_)[:, None, None, :]
        for layer in self.layers:
            h = layer(h, rotary, valid)
        return self.norm(h)
