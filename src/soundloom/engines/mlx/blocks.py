"""Layers shared by the diffusion transformer, the autoencoders and the conditioner.

Letters for axes: b batch, n positions, s text tokens, d width, h heads, k channels of a head.
Linear layers cast their input to the dtype of their weight; norms, rotary embeddings and Fourier features compute in
float32.
Source: stable-audio-3, models/transformer.py and models/blocks.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
from mlx import nn

from soundloom.diffusion.fourier import expo_frequencies
from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.mlx.branches import Branch, LowRankBranch
from soundloom.engines.mlx.graph import after, fused
from soundloom.lora.branches import LayerBranch

ROPE_BASE = 10_000.0
HEAD_NORM_EPS = 1e-6


@fused
def modulate(x: mx.array, scale: mx.array, shift: mx.array) -> mx.array:
    """Scale and shift a normalized x."""
    return shift + x * (1 + scale)


@fused
def add_gated(h: mx.array, x: mx.array, gate: mx.array) -> mx.array:
    """Add x, scaled by a sigmoid gate, to the float32 residual stream h."""
    return h + x.astype(mx.float32) * mx.sigmoid(1 - gate)


@fused
def silu_gated(value: mx.array, gate: mx.array) -> mx.array:
    """Multiply by a SiLU gate."""
    return value * (gate * mx.sigmoid(gate))


@fused
def sine_gated(value: mx.array, gate: mx.array) -> mx.array:
    """Multiply by a sinusoidal gate."""
    return value * mx.sin(math.pi * gate)


@fused
def dynamic_tanh(x: mx.array, alpha: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    """See `DyT`."""
    return beta + gamma * mx.tanh(alpha * x)


class SiLU(nn.Module):
    """x * sigmoid(x); nn.SiLU is compiled on every device, see `fused`."""

    def __call__(self, x: mx.array) -> mx.array:
        return x * mx.sigmoid(x)


class Linear(nn.Linear):
    """A linear layer that casts its input to the dtype of its weight."""

    branch: Branch | None = None

    def __call__(self, x: mx.array) -> mx.array:
        if self.branch is None:
            return super().__call__(x.astype(self.weight.dtype))
        y = self.branch(x, self.product)
        return y + self.bias if "bias" in self else y

    def product(self, x: mx.array) -> mx.array:
        """Multiply x (…, in) by the weight alone."""
        return x.astype(self.weight.dtype) @ self.weight.T

    def transposed_product(self, y: mx.array) -> mx.array:
        """Multiply y (…, out) by the transposed weight."""
        return y.astype(self.weight.dtype) @ self.weight

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> LowRankBranch:
        """Return a branch of adapters for this layer."""
        return LowRankBranch.of(branch, self.weight.dtype, cache)

    def rows(self, chosen: slice, earlier: mx.array) -> mx.array:
        """Return rows of the weight in float32, computed after `earlier`."""
        return after(earlier, self.weight)[chosen].astype(mx.float32)


class RMSNorm(nn.Module):
    """Root mean square norm; computes in float32 and returns the input's dtype."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.gamma = mx.ones((width,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        return rms_norm(x, self.gamma.astype(mx.float32), self.eps)


def rms_norm(x: mx.array, gain: mx.array, eps: float) -> mx.array:
    """Divide x (…, d) by its root mean square and multiply by a gain (d,), in float32; return the dtype of x."""
    return mx.fast.rms_norm(x.astype(mx.float32), gain, eps).astype(x.dtype)


class DyT(nn.Module):
    """Dynamic tanh, used instead of a norm in the autoencoders: gamma * tanh(alpha * x) + beta."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = mx.full((1,), 4.0)
        self.gamma = mx.ones((width,))
        self.beta = mx.zeros((width,))

    def __call__(self, x: mx.array) -> mx.array:
        return dynamic_tanh(x, self.alpha, self.gamma, self.beta)


def fourier_features(x: mx.array, features: int) -> mx.array:
    """Map x (b,) to Fourier features (b, features), cosines first, in float32.

    The order of the multiplications is the published one: it matters because angles reach 2 pi 10000 radians.
    """
    frequencies = mx.array(expo_frequencies(features))
    angles = x.astype(mx.float32)[:, None] * frequencies * 2 * math.pi
    return mx.concatenate([mx.cos(angles), mx.sin(angles)], axis=-1)


@dataclass(frozen=True)
class RotaryEmbedding:
    """Table of rotary positions in float32: cosines and sines (n, channels / 2).

    `mx.fast.rope` is not used: its Metal kernel uses the fast cosine, which is inexact at angles of thousands.
    """

    cos: mx.array
    sin: mx.array

    @classmethod
    def table(cls, positions: int, channels: int, base: float = ROPE_BASE) -> RotaryEmbedding:
        """Compute the table for positions 0 … n - 1; tables stored in checkpoints may be rounded."""
        frequencies = base ** (-mx.arange(0, channels, 2, dtype=mx.float32) / channels)
        angles = mx.arange(positions, dtype=mx.float32)[:, None] * frequencies
        return cls(mx.cos(angles), mx.sin(angles))


@fused
def rotate_pairs(a: mx.array, b: mx.array, cos: mx.array, sin: mx.array) -> tuple[mx.array, mx.array]:
    """Rotate pairs of channels (a, b) in float32; return them in their dtype."""
    return (a * cos - b * sin).astype(a.dtype), (b * cos + a * sin).astype(b.dtype)


def apply_rotary(x: mx.array, rotary: RotaryEmbedding) -> mx.array:
    """Rotate the first channels of x (b, h, n, k), pairing channels of their two halves, and pass on the rest."""
    half = rotary.sin.shape[-1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return mx.concatenate([*rotate_pairs(a, b, rotary.cos, rotary.sin), rest], axis=-1)


def rope_channels(head_dim: int) -> int:
    """Return how many channels of a head are rotated: half of them, at least 32."""
    return min(max(head_dim // 2, 32), head_dim)


@dataclass(frozen=True)
class Padding:
    """Valid positions (b, n), bool, and how attention treats the others.

    `mask` excludes padding from the softmax. `zero-values` keeps it in the softmax and zeroes its values, as the
    published code does without flash attention.
    """

    valid: mx.array
    mode: Literal["mask", "zero-values"] = "mask"

    def extended(self, positions: int) -> Padding:
        """Prepend valid positions, for memory tokens."""
        front = mx.ones((self.valid.shape[0], positions), dtype=mx.bool_)
        return Padding(mx.concatenate([front, self.valid], axis=1), self.mode)


def attend(
    q: mx.array, k: mx.array, v: mx.array, padding: Padding | None = None, bias: mx.array | None = None
) -> mx.array:
    """Attend with q (b, h, n, k) to k and v (b, h, m, k); without padding, a bias (m,) may be added to the logits."""
    if padding is None:
        return _attend(q, k, v, None if bias is None else bias[None])
    valid = padding.valid[:, None, :, None]
    if padding.mode == "zero-values":
        return _attend(q, k, v * valid)
    return _attend(q, k, v, mask=valid.swapaxes(-1, -2))


def _attend(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | None = None) -> mx.array:
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)


def attend_window(q: mx.array, k: mx.array, v: mx.array, window: int) -> mx.array:
    """Attend to the positions at most `window` away; exact, with memory linear in n.

    Each block of queries attends to a slice of keys that extends `window` beyond it on both sides, under a band mask.
    """
    b, h, n, width = q.shape
    if window >= n:
        return attend(q, k, v)
    block = 2 * window
    blocks = -(-n // block)
    tail = blocks * block - n

    def fold(x: mx.array) -> mx.array:  # (b, h, blocks * block, k) to (b * blocks, h, block, k)
        return x.reshape(b, h, blocks, block, width).swapaxes(1, 2).reshape(b * blocks, h, block, width)

    def halo(x: mx.array) -> mx.array:  # a slice of keys is two blocks long: a block and the next one
        x = mx.pad(x, [(0, 0), (0, 0), (window, tail + window), (0, 0)])
        return mx.concatenate([fold(x[:, :, :-block]), fold(x[:, :, block:])], axis=2)

    queries = fold(mx.pad(q, [(0, 0), (0, 0), (0, tail), (0, 0)]))
    mask = mx.tile(_band_mask(n, block, window), (b, 1, 1))[:, None]
    out = _attend(queries, halo(k), halo(v), mask)
    return out.reshape(b, blocks, h, block, width).swapaxes(1, 2).reshape(b, h, blocks * block, width)[:, :, :n]


def _band_mask(n: int, block: int, window: int) -> mx.array:
    """Return (blocks, block, block + 2 window), bool: the keys of its slice that each query attends to."""
    blocks = -(-n // block)
    start = mx.arange(blocks)[:, None, None] * block
    query = start + mx.arange(block)[:, None]
    key = start + mx.arange(block + 2 * window) - window
    near = mx.abs(key - query) <= window
    real = (key >= 0) & (key < n)
    # Queries beyond the end are dropped later; their band stays so that no softmax is empty.
    return near & (real | (query >= n))


class SelfAttention(nn.Module):
    """Multi-head self-attention; `differential` subtracts a second attention over the same values.

    Rows of `to_qkv`: q, k, v and, when differential, the second q and the second k.
    """

    def __init__(self, width: int, head_dim: int, norm: type[nn.Module], differential: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.differential = width // head_dim, head_dim, differential
        self.to_qkv = Linear(width, width * (5 if differential else 3), bias=False)
        self.to_out = Linear(width, width, bias=False)
        self.q_norm, self.k_norm = head_norm(norm, head_dim), head_norm(norm, head_dim)

    def __call__(
        self, x: mx.array, rotary: RotaryEmbedding, padding: Padding | None = None, window: int | None = None
    ) -> mx.array:
        """Attend over x (b, n, d), to all positions or to those at most `window` away."""
        b, n, d = x.shape
        parts = split_heads(self.to_qkv(x), self.heads, self.head_dim)
        q, k = apply_rotary(self.q_norm(parts[0]), rotary), apply_rotary(self.k_norm(parts[1]), rotary)
        out = self._attend(q, k, parts[2], padding, window)
        if self.differential:
            q, k = apply_rotary(self.q_norm(parts[3]), rotary), apply_rotary(self.k_norm(parts[4]), rotary)
            out = out - self._attend(q, k, parts[2], padding, window)
        return self.to_out(out.swapaxes(1, 2).reshape(b, n, d))

    def _attend(self, q: mx.array, k: mx.array, v: mx.array, padding: Padding | None, window: int | None) -> mx.array:
        if window is None:
            return attend(q, k, v, padding)
        return attend_window(q, k, v, window)


class CrossAttention(nn.Module):
    """Multi-head attention to the conditioning, whose keys and values `project_kv` computes once per clip.

    Rows of `to_q`: q and, when differential, the second q. Rows of `to_kv`: k, the second k if any, v.
    """

    def __init__(self, width: int, head_dim: int, norm: type[nn.Module], differential: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.differential = width // head_dim, head_dim, differential
        self.to_q = Linear(width, width * (2 if differential else 1), bias=False)
        self.to_kv = Linear(width, width * (3 if differential else 2), bias=False)
        self.to_out = Linear(width, width, bias=False)
        self.q_norm, self.k_norm = head_norm(norm, head_dim), head_norm(norm, head_dim)

    def project_kv(self, context: mx.array) -> tuple[mx.array, ...]:
        """Return the normed keys and the values of context (b, s, d)."""
        *keys, values = split_heads(self.to_kv(context), self.heads, self.head_dim)
        return (*(self.k_norm(key) for key in keys), values)

    def __call__(self, x: mx.array, kv: tuple[mx.array, ...], bias: mx.array | None = None) -> mx.array:
        """Attend from x (b, n, d) to the result of `project_kv`; bias (s,) is added to the logits."""
        b, n, d = x.shape
        *keys, values = kv
        queries = split_heads(self.to_q(x), self.heads, self.head_dim)
        first, *second = (attend(self.q_norm(q), k, values, bias=bias) for q, k in zip(queries, keys, strict=True))
        out = first - second[0] if second else first
        return self.to_out(out.swapaxes(1, 2).reshape(b, n, d))


def split_heads(x: mx.array, heads: int, head_dim: int) -> mx.array:
    """Split a projection (b, n, parts * d) into (parts, b, h, n, k)."""
    b, n, _ = x.shape
    return x.reshape(b, n, -1, heads, head_dim).transpose(2, 0, 3, 1, 4)


def head_norm(norm: type[nn.Module], head_dim: int) -> nn.Module:
    """Build the norm of queries or keys."""
    return DyT(head_dim) if norm is DyT else RMSNorm(head_dim, HEAD_NORM_EPS)


class GatedProjection(nn.Module):
    """One projection split into a value and a gate: value * act(gate)."""

    def __init__(self, width: int, inner: int, sinusoidal: bool) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner)
        self.sinusoidal = sinusoidal

    def __call__(self, x: mx.array) -> mx.array:
        value, gate = mx.split(self.proj(x), 2, axis=-1)
        return sine_gated(value, gate) if self.sinusoidal else silu_gated(value, gate)


class FeedForward(nn.Module):
    """Gated feed-forward layer; the identity at index 1 matches the checkpoint's numbering."""

    def __init__(self, width: int, inner: int, sinusoidal: bool = False) -> None:
        super().__init__()
        self.ff = [GatedProjection(width, inner, sinusoidal), nn.Identity(), Linear(inner, width)]

    def __call__(self, x: mx.array) -> mx.array:
        return sequence(self.ff, x)


def sequence(layers: Sequence[Callable[[mx.array], mx.array]], x: mx.array) -> mx.array:
    """Apply layers in turn; a plain list has the checkpoint's numbered keys, unlike `nn.Sequential`."""
    for layer in layers:
        x = layer(x)
    return x
