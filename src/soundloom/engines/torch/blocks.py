"""Layers that the diffusion transformer, the autoencoders and the conditioner share.

Letters for axes: b batch, n positions, s text tokens, d width, h heads, k channels of a head.
Linear layers take their input in the dtype of their weight; norms, rotations and Fourier features compute in float32.
Source: stable-audio-3, models/transformer.py and models/blocks.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from soundloom.diffusion.fourier import expo_frequencies
from soundloom.engines.torch.flex_attention import attend_window as flex_window
from soundloom.engines.torch.flex_attention import differential_attention, is_fused

ROPE_BASE = 10_000.0
HEAD_NORM_EPS = 1e-6
MOST_PLAIN_SCORES = 1 << 14  # of one head, in training on a CPU: queries times keys
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
ONEDNN_DTYPES = (torch.float32, torch.bfloat16) if HAS_ONEDNN else ()


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    """Return normal draws, or mere room on the meta device, where arithmetic would import PyTorch's compiler."""
    return torch.empty(shape) if torch.get_default_device().type == "meta" else torch.randn(shape) * scale


class Linear(nn.Linear):
    """A linear layer that casts its input to the dtype of its weight."""

    def reset_parameters(self) -> None:
        """Draw as usual, but nothing on the meta device, where weights are yet to be loaded."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return linear(x.to(self.weight.dtype), self.weight, self.bias)

    def silu_gated(self, x: Tensor) -> Tensor:
        """Return value * silu(gate) of the output's two halves; on a CPU as part of the products."""
        x = x.to(self.weight.dtype)
        if not x.is_cpu or x.dtype not in ONEDNN_DTYPES or torch.is_grad_enabled():
            value, gate = self(x).chunk(2, dim=-1)
            return value * F.silu(gate)
        weights, biases = self.weight.chunk(2), (None, None) if self.bias is None else self.bias.chunk(2)
        x = x.contiguous()
        gate = torch.ops.mkldnn._linear_pointwise(x, weights[1], biases[1], "swish", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, gate, weights[0], biases[0], "mul")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply x (…, c) with weight (d, c); in single precision on a CPU by oneDNN, which knows more processors."""
    if x.is_cpu and x.dtype == torch.float32 and HAS_ONEDNN and not torch.is_grad_enabled():
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


class RMSNorm(nn.Module):
    """Root mean square norm with a plain gain; computes in float32 and returns the input's dtype."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.gamma.float(), self.eps)


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Divide x (…, d) by its root mean square and multiply by a gain (d,), in float32; returns the dtype of x."""
    wide = x.float()
    if not x.is_cpu or torch.is_grad_enabled():
        return F.rms_norm(wide, gain.shape, gain, eps).to(x.dtype)
    # The same in fewer passes: torch's own takes eight times as long on a CPU.
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    scale = norm.square_().div_(len(gain)).add_(eps).rsqrt_()
    return (wide * scale).mul_(gain).to(x.dtype)


class DyT(nn.Module):
    """Dynamic tanh, which stands in for a norm in the autoencoders: gamma * tanh(alpha * x) + beta."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), 4.0))
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.gamma, torch.tanh(self.alpha * x))


def fourier_features(x: Tensor, features: int) -> Tensor:
    """Map x (b,) to (b, features), cosines first, in float32.

    The products keep the published order, which matters: the argument reaches 2 pi 10000 radians.
    """
    angles = x.float()[:, None] * _frequencies(features, x.device) * 2 * math.pi
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


@cache
def _frequencies(features: int, device: torch.device) -> Tensor:
    """Return the frequencies on a device, brought there once: a recording may not copy from the host."""
    with torch.inference_mode(False):
        return torch.from_numpy(expo_frequencies(features)).to(device)


@dataclass(frozen=True)
class RotaryEmbedding:
    """Rotary position table in float32: cosines (n, channels), those of both halves, and sines (n, channels / 2)."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def table(
        cls, positions: int, channels: int, device: torch.device | str, base: float = ROPE_BASE
    ) -> RotaryEmbedding:
        """Build the table for positions 0 … n - 1; recomputed, never read from a file, where it may be rounded."""
        frequencies = base ** (-torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels)
        angles = torch.arange(positions, device=device, dtype=torch.float32)[:, None] * frequencies
        return cls(angles.cos().repeat(1, 2), angles.sin())

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate the first channels of x (b, h, n, k), its halves paired, and pass the others through."""
        half = self.sin.shape[-1]
        turned, rest = x[..., : 2 * half].float(), x[..., 2 * half :]
        a, b = turned[..., :half], turned[..., half:]
        turned = turned * self.cos
        turned[..., :half].addcmul_(b, self.sin, value=-1)
        turned[..., half:].addcmul_(a, self.sin)
        return torch.cat([turned.to(x.dtype), rest], dim=-1)


def rope_channels(head_dim: int) -> int:
    """Channels of a head that turn with position: half of them, at least 32."""
    return min(max(head_dim // 2, 32), head_dim)


@dataclass(frozen=True)
class Padding:
    """Which positions are real, (b, n) bool, and what attention does about the others.

    `mask` leaves them out of the softmax. `zero-values` keeps them in its sum and only drops their values, as the
    published code does wherever it runs without flash attention.
    """

    valid: Tensor
    mode: Literal["mask", "zero-values"] = "mask"

    def extended(self, positions: int) -> Padding:
        """Put `positions` valid places in front, for memory tokens."""
        front = self.valid.new_ones(self.valid.shape[0], positions)
        return Padding(torch.cat([front, self.valid], dim=1), self.mode)


def attend(q: Tensor, k: Tensor, v: Tensor, padding: Padding | None = None, bias: Tensor | None = None) -> Tensor:
    """Attention of q (b, h, n, k) over k and v (b, h, m, k), scaled by the root of the head's width.

    Without padding, a bias (m,) may be added to the logits.
    """
    if padding is None:
        return _attend(q, k, v, None if bias is None else bias[None])
    valid = padding.valid[:, None, :, None]
    if padding.mode == "zero-values":
        return _attend(q, k, v * valid)
    return _attend(q, k, v, valid.transpose(-1, -2))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention by the kernel that PyTorch chooses, but for gradients of short sequences on a CPU.

    There the fused kernel goes back several times slower than plain products do.
    """
    if q.is_cpu and q.requires_grad and q.shape[-2] * k.shape[-2] <= MOST_PLAIN_SCORES:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_window(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attention of each position over those at most `window` away; exact, memory linear in n.

    Blocks of queries see a slice of keys that reaches `window` beyond them on both sides, under a band mask.
    """
    b, h, n, width = q.shape
    if window >= n:
        return attend(q, k, v)
    block = 2 * window
    blocks = -(-n // block)
    tail = blocks * block - n
    span = block + 2 * window

    def fold(x: Tensor, size: int) -> Tensor:  # (b, h, _, k) to (b * blocks, h, size, k)
        return x.unfold(2, size, block).permute(0, 2, 1, 4, 3).reshape(b * blocks, h, size, width)

    queries = fold(F.pad(q, (0, 0, 0, tail)), block)
    keys = fold(F.pad(k, (0, 0, window, tail + window)), span)
    values = fold(F.pad(v, (0, 0, window, tail + window)), span)
    mask = _band_mask(n, block, window, q.device).repeat(b, 1, 1)[:, None]
    out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return out.reshape(b, blocks, h, block, width).transpose(1, 2).reshape(b, h, blocks * block, width)[:, :, :n]


def _band_mask(n: int, block: int, window: int, device: torch.device) -> Tensor:
    """Return (blocks, block, block + 2 window) bool: which key of its slice each query may see."""
    blocks = -(-n // block)
    start = torch.arange(blocks, device=device)[:, None, None] * block
    query = start + torch.arange(block, device=device)[:, None]
    key = start + torch.arange(block + 2 * window, device=device) - window
    near = (key - query).abs() <= window
    real = (key >= 0) & (key < n)
    # Queries beyond the end are dropped afterwards; they keep their band so that no softmax is empty.
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
        self.attention_dtype: torch.dtype | None = None  # None means that of norms and rotations

    def forward(
        self, x: Tensor, rotate: RotaryEmbedding, padding: Padding | None = None, window: int | None = None
    ) -> Tensor:
        """Attend over x (b, n, d) with rotated positions, everywhere or at most `window` positions away."""
        b, n, d = x.shape
        parts = split_heads(self.to_qkv(x), self.heads, self.head_dim)
        pairs = [(parts[0], parts[1]), (parts[3], parts[4])] if self.differential else [(parts[0], parts[1])]
        turned = [(rotate(self.q_norm(q)), rotate(self.k_norm(k))) for q, k in pairs]
        if self.attention_dtype is not None:
            turned = [(q.to(self.attention_dtype), k.to(self.attention_dtype)) for q, k in turned]
        v = parts[2].to(turned[0][0].dtype)  # where the norm is a DyT, attention is in its float32 in any precision
        out = self._attend(turned, v, padding, window)
        return self.to_out(out.transpose(1, 2).reshape(b, n, d))

    @staticmethod
    def _attend(
        pairs: Sequence[tuple[Tensor, Tensor]], v: Tensor, padding: Padding | None, window: int | None
    ) -> Tensor:
        """Attend with one pair of queries and keys, or with a second whose result is subtracted."""
        if window is not None and is_fused(v):
            return (
                differential_attention(pairs[0], pairs[1], v, window)
                if len(pairs) == 2
                else flex_window(*pairs[0], v, window)
            )
        first, *second = (
            attend(q, k, v, padding) if window is None else attend_window(q, k, v, window) for q, k in pairs
        )
        return first - second[0] if second else first


class CrossAttention(nn.Module):
    """Multi-head attention to the conditioning; its keys and values are computed once per clip by `project_kv`.

    Rows of `to_q`: q and, when differential, the second q. Rows of `to_kv`: k, the second k if any, v.
    """

    def __init__(self, width: int, head_dim: int, norm: type[nn.Module], differential: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.differential = width // head_dim, head_dim, differential
        self.to_q = Linear(width, width * (2 if differential else 1), bias=False)
        self.to_kv = Linear(width, width * (3 if differential else 2), bias=False)
        self.to_out = Linear(width, width, bias=False)
        self.q_norm, self.k_norm = head_norm(norm, head_dim), head_norm(norm, head_dim)

    def project_kv(self, context: Tensor) -> tuple[Tensor, ...]:
        """Return the normed keys and the values of context (b, s, d)."""
        *keys, values = split_heads(self.to_kv(context), self.heads, self.head_dim)
        # A copy, since a view of the values would keep the keys' half of the product too.
        return (*(self.k_norm(key) for key in keys), values.contiguous())

    def forward(self, x: Tensor, memory: tuple[Tensor, ...], bias: Tensor | None = None) -> Tensor:
        """Attend from x (b, n, d) to what `project_kv` returned; bias (s,) is added to the logits."""
        b, n, d = x.shape
        *keys, values = memory
        queries = split_heads(self.to_q(x), self.heads, self.head_dim)
        first, *second = (attend(self.q_norm(q), k, values, bias=bias) for q, k in zip(queries, keys, strict=True))
        out = first - second[0] if second else first
        return self.to_out(out.transpose(1, 2).reshape(b, n, d))


def split_heads(x: Tensor, heads: int, head_dim: int) -> Tensor:
    """Cut a projection (b, n, parts * d) into (parts, b, h, n, k)."""
    b, n, _ = x.shape
    if x.is_cpu and x.dtype == torch.bfloat16:
        x = x.float()  # attention in BF16 seldom saves time there, and this cast replaces those of norms and rotations
    return x.view(b, n, -1, heads, head_dim).permute(2, 0, 3, 1, 4)


def head_norm(norm: type[nn.Module], head_dim: int) -> nn.Module:
    """Build the norm of queries or keys, which has its own epsilon where it has one at all."""
    return DyT(head_dim) if norm is DyT else RMSNorm(head_dim, HEAD_NORM_EPS)


class GatedProjection(nn.Module):
    """One projection cut into a value and a gate: value * act(gate)."""

    def __init__(self, width: int, inner: int, sinusoidal: bool) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner)
        self.sinusoidal = sinusoidal

    def forward(self, x: Tensor) -> Tensor:
        if not self.sinusoidal and hasattr(self.proj, "silu_gated"):
            return self.proj.silu_gated(x)
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * (torch.sin(math.pi * gate) if self.sinusoidal else F.silu(gate))


class FeedForward(nn.Module):
    """Gated feed-forward layer; the identity at index 1 keeps the checkpoint's numbering."""

    def __init__(self, width: int, inner: int, sinusoidal: bool = False) -> None:
        super().__init__()
        self.ff = nn.Sequential(GatedProjection(width, inner, sinusoidal), nn.Identity(), Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.ff(x)
