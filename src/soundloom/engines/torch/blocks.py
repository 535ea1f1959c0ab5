"""Layers shared by the diffusion transformer, the autoencoders and the conditioner.

Letters for axes: b batch, n positions, s text tokens, d width, h heads, k channels of a head.
Linear layers cast their input to the dtype of their weight; norms, rotary embeddings and Fourier features compute in
float32.
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
from soundloom.engines.factor_cache import FactorCache
from soundloom.engines.torch.branches import Branch, LowRankBranch
from soundloom.engines.torch.flex_attention import attend_window as flex_window
from soundloom.engines.torch.flex_attention import differential_attention, is_fused
from soundloom.engines.torch.int8 import HadamardInt8Linear, Int8Linear
from soundloom.lora.branches import LayerBranch

ROPE_BASE = 10_000.0
HEAD_NORM_EPS = 1e-6
MAX_MATH_SCORES = 1 << 14  # queries times keys of a head, up to which training on a CPU avoids the fused kernel
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
ONEDNN_DTYPES = (torch.float32, torch.bfloat16) if HAS_ONEDNN else ()


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    """Return normal samples, uninitialized on the meta device, where arithmetic would import PyTorch's compiler."""
    return torch.empty(shape) if torch.get_default_device().type == "meta" else torch.randn(shape) * scale


class Linear(nn.Linear):
    """A linear layer that casts its input to the dtype of its weight; its outputs consist of `parts` equal parts."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True, parts: int = 1) -> None:
        super().__init__(inputs, outputs, bias)
        self.parts = parts
        self.branch: Branch | None = None

    def reset_parameters(self) -> None:
        """Initialize, except on the meta device, whose weights are loaded later."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        if self.branch is None:
            return linear(x.to(self.weight.dtype), self.weight, self.bias)
        y = self.branch(x, self.product)
        return y if self.bias is None else y + self.bias

    def product(self, x: Tensor) -> Tensor:
        """Multiply x (…, inputs) by the weight alone."""
        return linear(x.to(self.weight.dtype), self.weight, None)

    def make_branch(self, branch: LayerBranch, cache: FactorCache) -> LowRankBranch:
        """Return a branch of adapters for this layer."""
        return LowRankBranch.of(branch, self.weight.device, self.weight.dtype, cache)

    def silu_gated(self, x: Tensor) -> Tensor:
        """Return value * silu(gate) of the output's two halves; on a CPU, oneDNN fuses it into the matmul."""
        x = x.to(self.weight.dtype)
        if self.branch is not None or not x.is_cpu or x.dtype not in ONEDNN_DTYPES or torch.is_grad_enabled():
            value, gate = self(x).chunk(2, dim=-1)
            return value * F.silu(gate)
        weights, biases = self.weight.chunk(2), (None, None) if self.bias is None else self.bias.chunk(2)
        x = x.contiguous()
        gate = torch.ops.mkldnn._linear_pointwise(x, weights[1], biases[1], "swish", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, gate, weights[0], biases[0], "mul")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply x (…, c) by weight (d, c); in float32 on a CPU by oneDNN, which is fast on more processors."""
    if x.is_cpu and x.dtype == torch.float32 and HAS_ONEDNN and not torch.is_grad_enabled():
        is_row = x.numel() == x.shape[-1]  # oneDNN rounds a single row in another way than the rows of a batch
        rows = x.reshape(1, -1).expand(2, -1) if is_row else x
        y = torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, "none", [], "")
        return y[0].view(*x.shape[:-1], len(weight)) if is_row else y
    return F.linear(x, weight, bias)


class RMSNorm(nn.Module):
    """Root mean square norm; computes in float32 and returns the input's dtype."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.gamma.float(), self.eps)


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Divide x (…, d) by its root mean square and multiply by a gain (d,), in float32; return the dtype of x."""
    wide = x.float()
    if not x.is_cpu or torch.is_grad_enabled():
        return F.rms_norm(wide, gain.shape, gain, eps).to(x.dtype)
    # The same in fewer passes: F.rms_norm takes eight times as long on a CPU.
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    scale = norm.square_().div_(len(gain)).add_(eps).rsqrt_()
    return (wide * scale).mul_(gain).to(x.dtype)


class DyT(nn.Module):
    """Dynamic tanh, used instead of a norm in the autoencoders: gamma * tanh(alpha * x) + beta.

    Unless `exact`, the error is up to 1e-7 of gamma, which matters to small outputs in FP32 only.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.exact = True
        self.alpha = nn.Parameter(torch.full((1,), 4.0))
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.exact:
            return torch.addcmul(self.beta, self.gamma, torch.tanh(self.alpha * x))
        # tanh(x) = 2 sigmoid(2x) - 1: PyTorch's sigmoid takes a fifth of the time of its tanh on a CPU.
        sigmoid = torch.sigmoid_(x * (2 * self.alpha))
        return torch.addcmul(self.beta - self.gamma, 2 * self.gamma, sigmoid)


def fourier_features(x: Tensor, features: int) -> Tensor:
    """Map x (b,) to Fourier features (b, features), cosines first, in float32.

    The order of the multiplications is the published one: it matters because angles reach 2 pi 10000 radians.
    """
    angles = x.float()[:, None] * _frequencies(features, x.device) * 2 * math.pi
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


@cache
def _frequencies(features: int, device: torch.device) -> Tensor:
    """Return the frequencies on a device, copied once: CUDA graph capture forbids copies from the host."""
    with torch.inference_mode(False):
        return torch.from_numpy(expo_frequencies(features)).to(device)


@dataclass(frozen=True)
class RotaryEmbedding:
    """Table of rotary positions, float32: cosines (n, channels), equal in both halves, and sines (n, channels / 2)."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def table(
        cls, positions: int, channels: int, device: torch.device | str, base: float = ROPE_BASE
    ) -> RotaryEmbedding:
        """Compute the table for positions 0 … n - 1; tables stored in checkpoints may be rounded."""
        frequencies = base ** (-torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels)
        angles = torch.arange(positions, device=device, dtype=torch.float32)[:, None] * frequencies
        return cls(angles.cos().repeat(1, 2), angles.sin())


def apply_rotary(x: Tensor, rotary: RotaryEmbedding) -> Tensor:
    """Rotate the first channels of x (b, h, n, k), pairing channels of their two halves, and pass on the rest."""
    half = rotary.sin.shape[-1]
    rotated, rest = x[..., : 2 * half].float(), x[..., 2 * half :]
    a, b = rotated[..., :half], rotated[..., half:]
    rotated = rotated * rotary.cos
    rotated[..., :half].addcmul_(b, rotary.sin, value=-1)
    rotated[..., half:].addcmul_(a, rotary.sin)
    return torch.cat([rotated.to(x.dtype), rest], dim=-1)


def rope_channels(head_dim: int) -> int:
    """Return how many channels of a head are rotated: half of them, at least 32."""
    return min(max(head_dim // 2, 32), head_dim)


@dataclass(frozen=True)
class Padding:
    """Valid positions (b, n), bool, and how attention treats the others.

    `mask` excludes padding from the softmax. `zero-values` keeps it in the softmax and zeroes its values, as the
    published code does without flash attention.
    """

    valid: Tensor
    mode: Literal["mask", "zero-values"] = "mask"

    def extended(self, positions: int) -> Padding:
        """Prepend valid positions, for memory tokens."""
        front = self.valid.new_ones(self.valid.shape[0], positions)
        return Padding(torch.cat([front, self.valid], dim=1), self.mode)


def attend(q: Tensor, k: Tensor, v: Tensor, padding: Padding | None = None, bias: Tensor | None = None) -> Tensor:
    """Attend with q (b, h, n, k) to k and v (b, h, m, k); without padding, a bias (m,) may be added to the logits."""
    if padding is None:
        return _attend(q, k, v, None if bias is None else bias[None])
    valid = padding.valid[:, None, :, None]
    if padding.mode == "zero-values":
        return _attend(q, k, v * valid)
    return _attend(q, k, v, valid.transpose(-1, -2))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attend by the kernel that PyTorch chooses, except when training on short sequences on a CPU.

    The backward pass of the fused kernel is several times slower there than plain matmuls.
    """
    if q.is_cpu and q.requires_grad and q.shape[-2] * k.shape[-2] <= MAX_MATH_SCORES:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_window(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attend to the positions at most `window` away; exact, with memory linear in n.

    Each block of queries attends to a slice of keys that extends `window` beyond it on both sides, under a band mask.
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
    """Return (blocks, block, block + 2 window), bool: the keys of its slice that each query attends to."""
    blocks = -(-n // block)
    start = torch.arange(blocks, device=device)[:, None, None] * block
    query = start + torch.arange(block, device=device)[:, None]
    key = start + torch.arange(block + 2 * window, device=device) - window
    near = (key - query).abs() <= window
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
        parts = 5 if differential else 3
        self.to_qkv = Linear(width, width * parts, bias=False, parts=parts)
        self.to_out = Linear(width, width, bias=False)
        self.q_norm, self.k_norm = head_norm(norm, head_dim), head_norm(norm, head_dim)
        self.attention_dtype: torch.dtype | None = None  # None: that of the norms' output

    def forward(
        self, x: Tensor, rotary: RotaryEmbedding, padding: Padding | None = None, window: int | None = None
    ) -> Tensor:
        """Attend over x (b, n, d), to all positions or to those at most `window` away."""
        b, n, d = x.shape
        parts = split_heads(self.to_qkv, x, self.heads, self.head_dim)
        pairs = [(parts[0], parts[1]), (parts[3], parts[4])] if self.differential else [(parts[0], parts[1])]
        pairs = [(apply_rotary(self.q_norm(q), rotary), apply_rotary(self.k_norm(k), rotary)) for q, k in pairs]
        if self.attention_dtype is not None:
            pairs = [(q.to(self.attention_dtype), k.to(self.attention_dtype)) for q, k in pairs]
        v = parts[2].to(pairs[0][0].dtype)  # DyT returns float32 in any precision, and so attention computes in it
        out = self._attend(pairs, v, padding, window)
        return self.to_out(out.transpose(1, 2).reshape(b, n, d))

    @staticmethod
    def _attend(
        pairs: Sequence[tuple[Tensor, Tensor]], v: Tensor, padding: Padding | None, window: int | None
    ) -> Tensor:
        """Attend with one pair of queries and keys, and subtract the attention of a second pair if there is one."""
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
    """Multi-head attention to the conditioning, whose keys and values `project_kv` computes once per clip.

    Rows of `to_q`: q and, when differential, the second q. Rows of `to_kv`: k, the second k if any, v.
    """

    def __init__(self, width: int, head_dim: int, norm: type[nn.Module], differential: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.differential = width // head_dim, head_dim, differential
        queries = 2 if differential else 1
        self.to_q = Linear(width, width * queries, bias=False, parts=queries)
        self.to_kv = Linear(width, width * (queries + 1), bias=False, parts=queries + 1)
        self.to_out = Linear(width, width, bias=False)
        self.q_norm, self.k_norm = head_norm(norm, head_dim), head_norm(norm, head_dim)

    def project_kv(self, context: Tensor) -> tuple[Tensor, ...]:
        """Return the normed keys and the values of context (b, s, d)."""
        *keys, values = split_heads(self.to_kv, context, self.heads, self.head_dim)
        # A copy: a view of the values would hold the whole projection in memory.
        return (*(self.k_norm(key) for key in keys), values.contiguous())

    def forward(self, x: Tensor, kv: tuple[Tensor, ...], bias: Tensor | None = None) -> Tensor:
        """Attend from x (b, n, d) to the result of `project_kv`; bias (s,) is added to the logits."""
        b, n, d = x.shape
        *keys, values = kv
        queries = split_heads(self.to_q, x, self.heads, self.head_dim)
        first, *second = (attend(self.q_norm(q), k, values, bias=bias) for q, k in zip(queries, keys, strict=True))
        out = first - second[0] if second else first
        return self.to_out(out.transpose(1, 2).reshape(b, n, d))


def split_heads(layer: nn.Module, x: Tensor, heads: int, head_dim: int) -> list[Tensor]:
    """Project x (b, n, d) by a linear layer, and split each of the equal parts of its outputs into (b, h, n, k)."""
    if isinstance(layer, Int8Linear):
        outputs = layer.split(x)
    else:
        outputs = layer(x).split(heads * head_dim, dim=-1)
        if x.is_cpu and outputs[0].dtype == torch.bfloat16:
            # BF16 attention rarely saves time here; this cast replaces those of norms and rotary embeddings.
            outputs = [part.float() for part in outputs]
    return [part.unflatten(-1, (heads, head_dim)).transpose(1, 2) for part in outputs]


def head_norm(norm: type[nn.Module], head_dim: int) -> nn.Module:
    """Build the norm of queries or keys."""
    return DyT(head_dim) if norm is DyT else RMSNorm(head_dim, HEAD_NORM_EPS)


class GatedProjection(nn.Module):
    """One projection split into a value and a gate: value * act(gate)."""

    def __init__(self, width: int, inner: int, sinusoidal: bool) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner, parts=2)
        self.sinusoidal = sinusoidal

    def forward(self, x: Tensor) -> Tensor:
        if not self.sinusoidal and isinstance(self.proj, Linear):
            return self.proj.silu_gated(x)
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * (torch.sin(math.pi * gate) if self.sinusoidal else F.silu(gate))

    def act_(self, gate: Tensor) -> Tensor:
        """Apply the activation in place."""
        return gate.mul_(math.pi).sin_() if self.sinusoidal else F.silu(gate, inplace=True)


class DownProjection(Linear):
    """The second layer of a gated feed-forward; its inputs are products, with outliers."""


class FeedForward(nn.Module):
    """Gated feed-forward layer; the identity at index 1 matches the checkpoint's numbering."""

    def __init__(self, width: int, inner: int, sinusoidal: bool = False) -> None:
        super().__init__()
        self.ff = nn.Sequential(GatedProjection(width, inner, sinusoidal), nn.Identity(), DownProjection(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        gated, _, down = self.ff
        assert isinstance(gated, GatedProjection)
        up = gated.proj
        if (
            isinstance(up, Int8Linear)
            and isinstance(down, HadamardInt8Linear)
            and up.computes_in_blocks
            and down.computes_in_blocks
        ):
            # Each block of channels goes through both layers while it is in the processor's cache.
            return down.unfold(down.accumulate(up.gated_blocks(x, gated.act_)), x)
        return self.ff(x)
