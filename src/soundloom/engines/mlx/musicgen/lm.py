"""The language model of MusicGen: tokens at a position to logits of the tokens at the next position.

A layer is, in order: norm, causal self-attention; norm, cross-attention to the prompt; norm, feed-forward. For edits,
the adapter adds attention to the source's tokens to self-attention: see `adapter.py`.
Letters for axes: b clips, r rows (all clips with their prompts; with guidance, then all clips without), q codebooks,
s positions, l text tokens, d width, h heads, k channels of a head, v tokens of a codebook.
The residual stream is float32 for any dtype of the weights. Source: audiocraft, models/lm.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
from mlx import nn

from soundloom.config.musicgen.model import LMConfig
from soundloom.engines.mlx.blocks import Linear
from soundloom.engines.mlx.graph import fused


@dataclass(frozen=True)
class Conditioning:
    """Keys and values (b, h, l, k) of the prompts for the cross-attention of each layer.

    `mask` (b, 1, 1, l) is True at valid tokens. Without it padding stays in the softmax as zeros, as in audiocraft,
    which trained the published weights; transformers masks padding.
    """

    cross_kv: Sequence[tuple[mx.array, mx.array]]
    mask: mx.array | None = None

    @property
    def clips(self) -> int:
        return int(self.cross_kv[0][0].shape[0])


@dataclass(frozen=True)
class AdapterKV:
    """The adapter's queries, keys and values (b, h, t + 1, k) of the source for one layer, and their gate.

    Position s adds row s of q to its query, at most `last_row`.
    """

    q: mx.array
    k: mx.array
    v: mx.array
    gate: mx.array
    last_row: int

    def attend(self, q: mx.array, positions: mx.array) -> mx.array:
        """Return the gated attention (r, h, s, k) of queries (r, h, s, k) at positions (s,) to the source."""
        b, h, _, k = self.q.shape
        rows = mx.take(self.q, mx.minimum(positions, self.last_row), axis=2)
        # The rows of a clip share keys and values, so they are queries of one attention: (b, h, r / b * s, k).
        queries = (q.reshape(-1, b, h, len(positions), k) + rows).transpose(1, 2, 0, 3, 4).reshape(b, h, -1, k)
        out = self.gate.astype(q.dtype) * attention(queries, self.k, self.v)
        return out.reshape(b, h, -1, len(positions), k).transpose(2, 0, 1, 3, 4).reshape(q.shape)


AdapterKVs = Sequence[AdapterKV] | None  # of each layer


class KVCache(Protocol):
    """Stores a layer's keys and values (r, h, s, k) of new positions, and attends with q to all positions so far."""

    def __call__(self, layer: int, q: mx.array, k: mx.array, v: mx.array) -> mx.array: ...


def attention(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | str | None = None) -> mx.array:
    """Attend with q (r, h, s, k) to k and v (r, h, n, k)."""
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)


def attend_causally(layer: int, q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """Attend causally among the given positions, without a cache."""
    return attention(q, k, v, "causal")


class LayerNorm(nn.Module):
    """Layer norm; computes in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = mx.ones((width,)), mx.zeros((width,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        weight, bias = self.weight.astype(mx.float32), self.bias.astype(mx.float32)
        return mx.fast.layer_norm(x.astype(mx.float32), weight, bias, self.eps)


@fused
def gelu(x: mx.array) -> mx.array:
    """The exact GELU; nn.gelu is compiled on every device, see `fused`."""
    return x * (1 + mx.erf(x / 2**0.5)) / 2


def split_heads(x: mx.array, heads: int) -> mx.array:
    """Split (r, s, d) into (r, h, s, k)."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def join_heads(x: mx.array) -> mx.array:
    """Join (r, h, s, k) to (r, s, d)."""
    return x.swapaxes(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Rows of `in_proj`: q, k, v."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        d, self.heads = config.hidden_size, config.num_attention_heads
        self.in_proj = Linear(d, 3 * d, bias=False)
        self.out_proj = Linear(d, d, bias=False)

    def project(self, x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        """Return queries, keys and values (r, h, s, k) of x (r, s, d)."""
        q, k, v = (split_heads(part, self.heads) for part in mx.split(self.in_proj(x), 3, axis=-1))
        return q, k, v


class CrossAttention(nn.Module):
    """Attention to the prompt, whose keys and values `project_kv` computes once."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        d, self.heads = config.hidden_size, config.num_attention_heads
        self.q_proj = Linear(d, d, bias=False)
        self.k_proj = Linear(d, d, bias=False)
        self.v_proj = Linear(d, d, bias=False)
        self.out_proj = Linear(d, d, bias=False)

    def project_kv(self, text: mx.array) -> tuple[mx.array, mx.array]:
        """Return keys and values (b, h, l, k) of text (b, l, d)."""
        return split_heads(self.k_proj(text), self.heads), split_heads(self.v_proj(text), self.heads)

    def __call__(self, x: mx.array, kv: tuple[mx.array, mx.array], mask: mx.array | None) -> mx.array:
        q = split_heads(self.q_proj(x), self.heads)
        return self.out_proj(join_heads(attention(q, *kv, mask)))


class Layer(nn.Module):
    """One layer of the transformer."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        d, eps = config.hidden_size, config.norm_eps
        self.norm1 = LayerNorm(d, eps)
        self.self_attn = SelfAttention(config)
        self.norm_cross = LayerNorm(d, eps)
        self.cross_attention = CrossAttention(config)
        self.norm2 = LayerNorm(d, eps)
        self.linear1 = Linear(d, config.ffn_dim, bias=False)
        self.linear2 = Linear(config.ffn_dim, d, bias=False)

    def self_attend(
        self, x: mx.array, index: int, positions: mx.array, cache: KVCache, adapter_kv: AdapterKV | None
    ) -> mx.array:
        """Self-attention of x (r, s, d) at positions (s,)."""
        q, k, v = self.self_attn.project(self.norm1(x))
        out = cache(index, q, k, v)
        if adapter_kv is not None:
            out = out + adapter_kv.attend(q, positions)
        return self.self_attn.out_proj(join_heads(out))

    def cross_attend(self, x: mx.array, cond: Conditioning, index: int) -> mx.array:
        """Add cross-attention to x (r, s, d); it is exactly zero for rows without a prompt, which are skipped."""
        prompted, rest = x[: cond.clips], x[cond.clips :]
        out = self.cross_attention(self.norm_cross(prompted), cond.cross_kv[index], cond.mask)
        return mx.concatenate([prompted + out, rest]) if len(rest) else prompted + out

    def feed_forward(self, x: mx.array) -> mx.array:
        return self.linear2(gelu(self.linear1(self.norm2(x))))


class Transformer(nn.Module):
    """The stack of layers."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.layers = [Layer(config) for _ in range(config.num_hidden_layers)]

    def __call__(
        self, x: mx.array, positions: mx.array, cond: Conditioning, cache: KVCache, adapter_kv: AdapterKVs
    ) -> mx.array:
        """Advance the residual stream x (r, s, d)."""
        for index, layer in enumerate(self.layers):
            x = x + layer.self_attend(x, index, positions, cache, adapter_kv[index] if adapter_kv else None)
            x = layer.cross_attend(x, cond, index)
            x = x + layer.feed_forward(x)
        return x


class MusicGenLM(nn.Module):
    """The language model; `forward` returns hidden states, `logits` maps them to logits of the next tokens."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.config = config
        d, codebooks = config.hidden_size, range(config.num_codebooks)
        self.emb = [nn.Embedding(config.vocab_size + 1, d) for _ in codebooks]
        self.output_proj = Linear(config.text_width, d)
        self.transformer = Transformer(config)
        self.out_norm = LayerNorm(d, config.norm_eps)
        self.linears = [Linear(d, config.vocab_size, bias=False) for _ in codebooks]

    def embed(self, tokens: mx.array) -> mx.array:
        """Sum the embeddings (b, s, d) of tokens (b, q, s), float32."""
        return mx.stack([table(tokens[:, q]).astype(mx.float32) for q, table in enumerate(self.emb)]).sum(0)

    def project_text(self, hidden: mx.array, mask: mx.array) -> mx.array:
        """Project text embeddings (b, l, text width) to the model's width; zero where mask (b, l) is False."""
        return self.output_proj(hidden).astype(mx.float32) * mask[..., None]

    def condition(self, hidden: mx.array, mask: mx.array, mask_padding: bool = False) -> Conditioning:
        """Compute the conditioning shared by all positions, of text embeddings (b, l, text width) and mask (b, l)."""
        text = self.project_text(hidden, mask)
        cross_kv = [layer.cross_attention.project_kv(text) for layer in self.transformer.layers]
        return Conditioning(cross_kv, mask[:, None, None] if mask_padding else None)

    def __call__(
        self,
        tokens: mx.array,
        positions: mx.array,
        table: mx.array,
        cond: Conditioning,
        cache: KVCache = attend_causally,
        adapter_kv: AdapterKVs = None,
    ) -> mx.array:
        """Return hidden states (r, s, d) of tokens (r, q, s) at positions (s,).

        `table` (n, d) has the sinusoids of all positions. The first rows have the prompts of `cond`, the rest none.
        """
        x = self.embed(tokens) + table[positions]
        return self.out_norm(self.transformer(x, positions, cond, cache, adapter_kv))

    def logits(self, hidden: mx.array) -> mx.array:
        """Return logits (r, q, s, v), float32, of hidden states (r, s, d)."""
        return mx.stack([head(hidden) for head in self.linears], axis=1).astype(mx.float32)
