"""The language model of MusicGen: tokens at a position to logits of the tokens at the next position.

A layer is, in order: norm, causal self-attention; norm, cross-attention to the prompt; norm, feed-forward. For edits,
the adapter adds attention to the source's tokens to self-attention: see `adapter.py`.
Letters for axes: b clips, r rows (all clips with their prompts; with guidance, then all clips without), q codebooks,
s positions, l text tokens, d width, h heads, k channels of a head, v tokens of a codebook.
The residual stream is float32 for any dtype of the weights. Source: audiocraft, models/lm.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.musicgen.model import LMConfig
from soundloom.engines.torch.blocks import Linear


@dataclass(frozen=True)
class Conditioning:
    """Keys and values (b, h, l, k) of the prompts for the cross-attention of each layer.

    `mask` (b, 1, 1, l) is True at valid tokens. Without it padding stays in the softmax as zeros, as in audiocraft,
    which trained the published weights; transformers masks padding.
    """

    cross_kv: Sequence[tuple[Tensor, Tensor]]
    mask: Tensor | None = None

    @property
    def clips(self) -> int:
        return len(self.cross_kv[0][0])


@dataclass(frozen=True)
class AdapterKV:
    """The adapter's queries, keys and values (b, h, t + 1, k) of the source for one layer, and their gate.

    Position s adds row s of q to its query, at most `last_row`.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    gate: Tensor
    last_row: int

    def attend(self, q: Tensor, positions: Tensor) -> Tensor:
        """Return the gated attention (r, h, s, k) of queries (r, h, s, k) at positions (s,) to the source."""
        b, h, _, k = self.q.shape
        rows = self.q.index_select(2, positions.clamp(max=self.last_row))
        # The rows of a clip share keys and values, so they are queries of one attention: (b, h, r / b * s, k).
        queries = (q.view(-1, b, h, len(positions), k) + rows).permute(1, 2, 0, 3, 4).reshape(b, h, -1, k)
        out = self.gate.to(q.dtype) * F.scaled_dot_product_attention(queries, self.k, self.v)
        return out.view(b, h, -1, len(positions), k).permute(2, 0, 1, 3, 4).reshape(q.shape)


AdapterKVs = Sequence[AdapterKV] | None  # of each layer


class KVCache(Protocol):
    """Stores a layer's keys and values (r, h, s, k) of new positions, and attends with q to all positions so far."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor: ...


def attend_causally(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend causally among the given positions, without a cache."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class LayerNorm(nn.Module):
    """Layer norm; computes in float32, without casts once `MusicGenLM.widen_norms` has run."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.weight.shape, self.weight.float(), self.bias.float(), self.eps)


def gelu(x: Tensor) -> Tensor:
    """The exact GELU, not its approximation by tanh."""
    return F.gelu(x)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split (r, s, d) into (r, h, s, k), on a CPU in float32."""
    # With one query at a time, attention on a CPU is slower in BF16 than in float32.
    x = x.float() if x.is_cpu else x
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Join (r, h, s, k) to (r, s, d)."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Rows of `in_proj`: q, k, v."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        d, self.heads = config.hidden_size, config.num_attention_heads
        self.in_proj = Linear(d, 3 * d, bias=False)
        self.out_proj = Linear(d, d, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (r, h, s, k) of x (r, s, d)."""
        qkv = split_heads(self.in_proj(x), 3 * self.heads)  # one cast for all three
        q, k, v = qkv.chunk(3, dim=1)
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

    def project_kv(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (b, h, l, k) of text (b, l, d)."""
        keys, values = split_heads(self.k_proj(text), self.heads), split_heads(self.v_proj(text), self.heads)
        return keys.contiguous(), values.contiguous()

    def forward(self, x: Tensor, kv: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        q = split_heads(self.q_proj(x), self.heads)
        return self.out_proj(join_heads(F.scaled_dot_product_attention(q, *kv, attn_mask=mask)))


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
        self, x: Tensor, index: int, positions: Tensor, cache: KVCache, adapter_kv: AdapterKV | None
    ) -> Tensor:
        """Self-attention of x (r, s, d) at positions (s,)."""
        q, k, v = self.self_attn.project(self.norm1(x))
        out = cache(index, q, k, v)
        if adapter_kv is not None:
            out = out + adapter_kv.attend(q, positions)
        return self.self_attn.out_proj(join_heads(out))

    def cross_attend(self, x: Tensor, cond: Conditioning, index: int) -> Tensor:
        """Add cross-attention to x (r, s, d); it is exactly zero for rows without a prompt, which are skipped."""
        prompted, rest = x[: cond.clips], x[cond.clips :]
        out = self.cross_attention(self.norm_cross(prompted), cond.cross_kv[index], cond.mask)
        return torch.cat([prompted + out, rest]) if len(rest) else prompted + out

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(gelu(self.linear1(self.norm2(x))))


class Transformer(nn.Module):
    """The stack of layers."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def __iter__(self) -> Iterator[Layer]:
        for layer in self.layers:
            assert isinstance(layer, Layer)
            yield layer

    def forward(
        self, x: Tensor, positions: Tensor, cond: Conditioning, cache: KVCache, adapter_kv: AdapterKVs
    ) -> Tensor:
        """Advance the residual stream x (r, s, d)."""
        for index, layer in enumerate(self):
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
        self.emb = nn.ModuleList(nn.Embedding(config.vocab_size + 1, d) for _ in codebooks)
        self.output_proj = Linear(config.text_width, d)
        self.transformer = Transformer(config)
        self.out_norm = LayerNorm(d, config.norm_eps)
        self.linears = nn.ModuleList(Linear(d, config.vocab_size, bias=False) for _ in codebooks)

    def widen_norms(self) -> None:
        """Store the weights of norms in float32, in which they compute, so that no step casts them."""
        for module in self.modules():
            if isinstance(module, LayerNorm):
                module.float()

    def embed(self, tokens: Tensor) -> Tensor:
        """Sum the embeddings (b, s, d) of tokens (b, q, s), float32."""
        first, *rest = (table(tokens[:, q]).float() for q, table in enumerate(self.emb))
        return sum(rest, first)

    def project_text(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Project text embeddings (b, l, text width) to the model's width; zero where mask (b, l) is False."""
        return self.output_proj(hidden).float() * mask[..., None]

    def condition(self, hidden: Tensor, mask: Tensor, mask_padding: bool = False) -> Conditioning:
        """Compute the conditioning shared by all positions, of text embeddings (b, l, text width) and mask (b, l)."""
        text = self.project_text(hidden, mask)
        cross_kv = [layer.cross_attention.project_kv(text) for layer in self.transformer]
        return Conditioning(cross_kv, mask[:, None, None] if mask_padding else None)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        table: Tensor,
        cond: Conditioning,
        cache: KVCache = attend_causally,
        adapter_kv: AdapterKVs = None,
    ) -> Tensor:
        """Return hidden states (r, s, d) of tokens (r, q, s) at positions (s,).

        `table` (n, d) has the sinusoids of all positions. The first rows have the prompts of `cond`, the rest none.
        """
        x = self.embed(tokens) + table[positions]
        return self.out_norm(self.transformer(x, positions, cond, cache, adapter_kv))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (r, q, s, v), float32, of hidden states (r, s, d)."""
        return torch.stack([head(hidden) for head in self.linears], dim=1).float()
