"""The text encoder of MusicGen: the encoder stack of T5, with relative position biases.

A block is attention, then feed-forward, each applied to a norm and added to the residual stream. Logits are not scaled.
The first block has the table of position biases that all blocks use. Linear layers have no bias.
Letters for axes: b batch, s tokens, d width, h heads. Source: transformers, models/t5.
"""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
from mlx import nn

from soundloom.config.musicgen.model import T5Config
from soundloom.engines.mlx.blocks import Linear, rms_norm
from soundloom.text.positions import bucket_table


class T5Norm(nn.Module):
    """Root mean square norm; computes in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = mx.ones((width,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        return rms_norm(x, self.weight.astype(mx.float32), self.eps)


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

    def position_bias(self, length: int) -> mx.array:
        """Return the relative position bias of the logits, (h, s, s)."""
        config, table = self.config, self.relative_attention_bias
        buckets = bucket_table(length, config.relative_attention_num_buckets, config.relative_attention_max_distance)
        return table(mx.array(buckets)).transpose(2, 0, 1)

    def __call__(self, x: mx.array, bias: mx.array, mask: mx.array) -> mx.array:
        """Attend over x (b, s, d) with bias (h, s, s); mask (b, 1, 1, s) is True at valid tokens."""
        b, s, _ = x.shape
        q, k, v = (part(x).reshape(b, s, -1, self.config.d_kv).swapaxes(1, 2) for part in (self.q, self.k, self.v))
        # A finite minimum keeps rows without valid tokens from becoming NaN.
        logits = mx.where(mask, (q @ k.swapaxes(-1, -2) + bias).astype(mx.float32), mx.finfo(mx.float32).min)
        return self.o((mx.softmax(logits, axis=-1).astype(v.dtype) @ v).swapaxes(1, 2).reshape(b, s, -1))


class T5SelfAttention(nn.Module):
    """Norm, attention and residual connection."""

    def __init__(self, config: T5Config, has_table: bool) -> None:
        super().__init__()
        self.SelfAttention = T5Attention(config, has_table)
        self.layer_norm = T5Norm(config.d_model, config.layer_norm_epsilon)

    def __call__(self, h: mx.array, bias: mx.array, mask: mx.array) -> mx.array:
        return h + self.SelfAttention(self.layer_norm(h), bias, mask)


class T5Dense(nn.Module):
    """Feed-forward layer."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi = Linear(config.d_model, config.d_ff, bias=False)
        self.wo = Linear(config.d_ff, config.d_model, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.wo(mx.maximum(self.wi(x), 0))


class T5FeedForward(nn.Module):
    """Norm, feed-forward layer and residual connection."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = T5Dense(config)
        self.layer_norm = T5Norm(config.d_model, config.layer_norm_epsilon)

    def __call__(self, h: mx.array) -> mx.array:
        return h + self.DenseReluDense(self.layer_norm(h))


class T5Block(nn.Module):
    """Attention and feed-forward."""

    def __init__(self, config: T5Config, has_table: bool) -> None:
        super().__init__()
        self.layer = [T5SelfAttention(config, has_table), T5FeedForward(config)]

    @property
    def attention(self) -> T5Attention:
        return self.layer[0].SelfAttention

    def __call__(self, h: mx.array, bias: mx.array, mask: mx.array) -> mx.array:
        attention, feed_forward = self.layer
        return feed_forward(attention(h, bias, mask))


class T5Stack(nn.Module):
    """All blocks and the final norm."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.block = [T5Block(config, has_table=not index) for index in range(config.num_layers)]
        self.final_layer_norm = T5Norm(config.d_model, config.layer_norm_epsilon)


class T5Encoder(nn.Module):
    """Encodes token ids (b, s) with mask (b, s), True at valid tokens, as embeddings (b, s, d)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config)

    def streams(self, ids: mx.array, mask: mx.array) -> Iterator[mx.array]:
        """Yield the residual stream (b, s, d) before each block and after the last."""
        stack, first = self.encoder, self.encoder.block[0]
        h = self.shared(ids).astype(stack.final_layer_norm.weight.dtype)
        bias, valid = first.attention.position_bias(ids.shape[1]), mask.astype(mx.bool_)[:, None, None, :]
        yield h
        for block in stack.block:
            h = block(h, bias, valid)
            yield h

    def __call__(self, ids: mx.array, mask: mx.array) -> mx.array:
        *_, h = self.streams(ids, mask)
        return self.encoder.final_layer_norm(h)
