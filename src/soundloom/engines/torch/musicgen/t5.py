"""The text encoder of MusicGen: the encoder stack of T5, with relative position biases.

A block is attention, then feed-forward, each applied to a norm and added to the residual stream. Logits are not scaled.
The first block has the table of position biases that all blocks use. Linear layers have no bias.
Letters for axes: b batch, s tokens, d width, h heads. Source: transformers, models/t5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.musicgen.model import T5Config
from soundloom.engines.torch.blocks import Linear
from soundloom.text.positions import bucket_table


class T5Norm(nn.Module):
    """Root mean square norm; computes in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


class T5Attention(nn.Module):
    """Self-attention; `has_table` is True in the block with the position biases."""

    def __init__(self, config: T5Config, has_table: bool) -> None:
        super().__init__()
        self.config = config
        self.q = Linear(config.d_model, config.inner, bias=False)
        self.k = Linear(config.d_model, config.inner, bias=False)
        self.v = Linear(config.d_model, config.inner, bias=False)
        self.o = Linear(config.inner, config.d_model, bias=False)
        if has_table:
            self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)

    def position_bias(self, length: int) -> Tensor:
        """Return the relative position bias of the logits, (h, s, s)."""
        config, table = self.config, self.relative_attention_bias
        buckets = bucket_table(length, config.relative_attention_num_buckets, config.relative_attention_max_distance)
        return table(torch.from_numpy(buckets).to(table.weight.device)).permute(2, 0, 1)

    def forward(self, x: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        """Attend over x (b, s, d) with bias (h, s, s); mask (b, 1, 1, s) is True at valid tokens."""
        b, s, _ = x.shape
        q, k, v = (part(x).view(b, s, -1, self.config.d_kv).transpose(1, 2) for part in (self.q, self.k, self.v))
        # A finite minimum keeps rows without valid tokens from becoming NaN.
        logits = (q @ k.transpose(-1, -2) + bias).float().masked_fill(~mask, torch.finfo(torch.float32).min)
        return self.o((logits.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(b, s, -1))


class T5SelfAttention(nn.Module):
    """Norm, attention and residual connection."""

    def __init__(self, config: T5Config, has_table: bool) -> None:
        super().__init__()
        self.SelfAttention = T5Attention(config, has_table)
        self.layer_norm = T5Norm(config.d_model, config.layer_norm_epsilon)

    def forward(self, h: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return h + self.SelfAttention(self.layer_norm(h), bias, mask)


class T5Dense(nn.Module):
    """Feed-forward layer."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi = Linear(config.d_model, config.d_ff, bias=False)
        self.wo = Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(F.relu(self.wi(x)))


class T5FeedForward(nn.Module):
    """Norm, feed-forward layer and residual connection."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = T5Dense(config)
        self.layer_norm = T5Norm(config.d_model, config.layer_norm_epsilon)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.DenseReluDense(self.layer_norm(h))


class T5Block(nn.Module):
    """Attention and feed-forward."""

    def __init__(self, config: T5Config, has_table: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList([T5SelfAttention(config, has_table), T5FeedForward(config)])

    @property
    def attention(self) -> T5Attention:
        return cast(T5SelfAttention, self.layer[0]).SelfAttention

    def forward(self, h: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        attention, feed_forward = self.layer
        return feed_forward(attention(h, bias, mask))


class T5Stack(nn.Module):
    """All blocks and the final norm."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.block = nn.ModuleList(T5Block(config, has_table=not index) for index in range(config.num_layers))
        self.final_layer_norm = T5Norm(config.d_model, config.layer_norm_epsilon)


class T5Encoder(nn.Module):
    """Encodes token ids (b, s) with mask (b, s), True at valid tokens, as embeddings (b, s, d)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config)

    def streams(self, ids: Tensor, mask: Tensor) -> Iterator[Tensor]:
        """Yield the residual stream (b, s, d) before each block and after the last."""
        stack, first = self.encoder, cast(T5Block, self.encoder.block[0])
        h = self.shared(ids).to(stack.final_layer_norm.weight.dtype)
        bias, valid = first.attention.position_bias(ids.shape[1]), mask.bool()[:, None, None, :]
        yield h
        for block in stack.block:
            h = block(h, bias, valid)
            yield h

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        *_, h = self.streams(ids, mask)
        return self.encoder.final_layer_norm(h)
