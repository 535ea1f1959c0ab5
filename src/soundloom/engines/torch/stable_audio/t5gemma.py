"""The text encoder: the bidirectional encoder stack of T5Gemma, with norms before and after each branch.

Norm gains are stored minus one. The configuration may cap attention logits by a tanh. The embedding table stays in the
dtype of its file, since a prompt reads only a few rows; everything else computes in one dtype.
Letters for axes: b batch, s tokens, d width. Source: transformers, models/t5gemma; Gemma 2 report.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.engines.torch.blocks import Linear, RotaryEmbedding, apply_rotary, normal, rms_norm


class GemmaNorm(nn.Module):
    """Root mean square norm with the gain 1 + weight; computes in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, 1 + self.weight.float(), self.eps)


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

    def forward(self, x: Tensor, rotary: RotaryEmbedding, mask: Tensor) -> Tensor:
        """Attend over x (b, s, d); mask (b, 1, 1, s) is True at valid tokens."""
        b, s, _ = x.shape
        q, k, v = (
            projection(x).view(b, s, -1, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        repeats = self.heads // self.kv_heads
        k, v = (apply_rotary(k, rotary).repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1))
        logits = apply_rotary(q, rotary) @ k.transpose(-1, -2) * self.scale
        if self.cap is not None:
            logits = self.cap * torch.tanh(logits / self.cap)
        weights = logits.float().masked_fill(~mask, torch.finfo(torch.float32).min).softmax(-1).to(v.dtype)
        return self.o_proj((weights @ v).transpose(1, 2).reshape(b, s, -1))


class TextMLP(nn.Module):
    """Feed-forward layer gated by an approximate GELU."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class TextBlock(nn.Module):
    """Attention, then feed-forward, each between two norms."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.pre_self_attn_layernorm, self.post_self_attn_layernorm = GemmaNorm(width, eps), GemmaNorm(width, eps)
        self.self_attn = TextAttention(config)
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = GemmaNorm(width, eps), GemmaNorm(width, eps)
        self.mlp = TextMLP(config)

    def forward(self, h: Tensor, rotary: RotaryEmbedding, mask: Tensor) -> Tensor:
        attended = self.self_attn(self.pre_self_attn_layernorm(h), rotary, mask)
        h = h + self.post_self_attn_layernorm(attended)
        return h + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(h)))


class T5GemmaEncoder(nn.Module):
    """Encode token ids (b, s) with mask (b, s), True at valid tokens, as embeddings (b, s, d)."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding.from_pretrained(normal(config.vocab_size, config.hidden_size), freeze=False)
        self.layers = nn.ModuleList(TextBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = GemmaNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        dtype = self.norm.weight.dtype
        # The published encoder rounds the factor to the working dtype too.
        h = self.embed_tokens(ids).to(dtype) * torch.tensor(self.config.hidden_size**0.5, dtype=dtype)
        rotary = RotaryEmbedding.table(ids.shape[1], self.config.head_dim, ids.device, self.config.rope_theta)
        valid = mask.bool()[:, None, None, :]
        for layer in self.layers:
            h = layer(h, rotary, valid)
        return self.norm(h)
