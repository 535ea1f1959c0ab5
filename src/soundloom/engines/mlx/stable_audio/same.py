"""SAME autoencoders: stereo audio to latents and back, by transformers that gather or spread patches.

Encoder: patches are mapped to the width, every `stride` of them get one new token behind, the blocks let the token
gather them, and the tokens alone go on. Decoder: each latent gets `stride` new tokens behind, and those alone go on.
SAME-S attends within chunks of two latents, moved by half a chunk for the second half of its blocks; SAME-L within
a sliding window. Attention is differential and computes in float32: it cancels badly in half precision.
Letters for axes: b batch, c channels, n patches, l latents, g = stride + 1 tokens of a latent, d width.
Source: stable-audio-3, models/autoencoders.py and models/bottleneck.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import mlx.core as mx
from mlx import nn

from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig, SoftNormConfig
from soundloom.engines.mlx.blocks import DyT, FeedForward, Linear, RotaryEmbedding, SelfAttention, rope_channels

NoiseFn = Callable[[tuple[int, ...]], mx.array]  # standard normal draws of the shape asked for
LATENT_NOISE = 1e-3  # of the running deviation; what the published decoder adds, even when not training


class WeightNormConv(nn.Module):
    """Convolution over x (b, n, c) whose kernel is stored as direction and gain; odd kernels, zero padding."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.weight_v = mx.random.normal((channels_out, channels_in, kernel)) * (channels_in * kernel) ** -0.5
        self.weight_g = kernel_norm(self.weight_v)
        self.bias = mx.zeros((channels_out,))

    def __call__(self, x: mx.array) -> mx.array:
        weight = self.weight_g * self.weight_v / kernel_norm(self.weight_v)
        if weight.shape[-1] == 1:
            return x @ weight[:, :, 0].T + self.bias
        return mx.conv1d(x, weight.swapaxes(1, 2), padding=weight.shape[-1] // 2) + self.bias


def kernel_norm(weight: mx.array) -> mx.array:
    """Return the Euclidean norm of each output channel's kernel (out, in, k), (out, 1, 1)."""
    return mx.sqrt((weight * weight).sum(axis=(1, 2), keepdims=True))


class SAMEBlock(nn.Module):
    """Attention and feed-forward, each behind a DyT, each added to the stream."""

    def __init__(self, config: ResamplerConfig, sinusoidal: bool) -> None:
        super().__init__()
        d = config.width
        self.pre_norm, self.ff_norm = DyT(d), DyT(d)
        self.self_attn = SelfAttention(d, config.dim_heads, DyT, config.differential)
        self.ff = FeedForward(d, config.ff_inner, sinusoidal)

    def __call__(self, h: mx.array, rotate: RotaryEmbedding, window: int | None) -> mx.array:
        h = h + self.self_attn(self.pre_norm(h), rotate, window=window)
        return h + self.ff(self.ff_norm(h))


class Resampler(nn.Module):
    """The transformer of one half; its two kinds put tokens in and take them out."""

    def __init__(self, config: ResamplerConfig, patch_channels: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        self.mapping = WeightNormConv(*patch_channels, 3 if config.conv_mapping else 1)
        self.new_tokens = 1e-5 * mx.random.normal((1, 1, config.width))
        self.transformers = [SAMEBlock(config, config.is_sinusoidal(i)) for i in range(config.depth)]

    def attend(self, h: mx.array) -> mx.array:
        """Run the blocks over tokens h (b, l * g, d) under the context rule of the configuration."""
        config = self.config
        if config.sliding_window is not None:
            return self._run(h, self.transformers, window=config.sliding_window[0] * config.group)
        half, chunk = config.depth // 2, config.latents_per_chunk * config.group
        shift = chunk // 2
        h = _folded(h, chunk, lambda x: self._run(x, self.transformers[:half]))
        h = mx.concatenate([h[:, :shift], h, h[:, -shift:]], axis=1)
        h = _folded(h, chunk, lambda x: self._run(x, self.transformers[half:]))
        return h[:, shift:-shift]

    def _run(self, h: mx.array, blocks: list[SAMEBlock], window: int | None = None) -> mx.array:
        rotate = RotaryEmbedding.table(h.shape[1], rope_channels(self.config.dim_heads))
        for block in blocks:
            h = block(h, rotate, window)
        return h

    def with_noise(self, tokens: mx.array, noise: NoiseFn | None) -> mx.array:
        """Add a draw to new tokens (b * l, _, d), where the configuration has any and the caller wants it."""
        if noise is None or not self.config.mask_noise:
            return tokens
        return tokens + noise(tokens.shape).astype(tokens.dtype) * self.config.mask_noise


def _folded(h: mx.array, chunk: int, run: Callable[[mx.array], mx.array]) -> mx.array:
    """Apply `run` to h (b, n, d) cut into chunks that do not see each other."""
    b, n, d = h.shape
    return run(h.reshape(b * (n // chunk), chunk, d)).reshape(b, n, d)


class EncoderResampler(Resampler):
    """Patches (b, n, c) to one token for each latent (b, l, d)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__(config, (config.in_channels, config.width))
        if config.latent_shortcut:
            self.shortcut = Linear(config.stride * config.width, config.width, bias=False)

    def __call__(self, patches: mx.array, noise: NoiseFn | None) -> mx.array:
        config = self.config
        multiple = config.stride * config.latents_per_chunk
        patches = pad_end(patches, 1, multiple)  # silence, mapped like all else
        b, n, _ = patches.shape
        groups = self.mapping(patches).reshape(b * (n // config.stride), config.stride, config.width)
        tokens = mx.broadcast_to(self.new_tokens, (len(groups), 1, config.width))
        if config.latent_shortcut:
            tokens = tokens + self.shortcut(groups.flatten(1))[:, None]
        h = mx.concatenate([groups, self.with_noise(tokens, noise)], axis=1)  # (b * l, g, d)
        h = self.attend(h.reshape(b, -1, config.width))
        return h.reshape(b, -1, config.group, config.width)[:, :, -1]


class DecoderResampler(Resampler):
    """Latent tokens (b, l, d) to patches (b, n, c)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__(config, (config.width, config.out_channels))
        if config.latent_shortcut:
            self.shortcut = Linear(config.width, config.stride * config.width, bias=False)

    def __call__(self, latents: mx.array, noise: NoiseFn | None) -> mx.array:
        config = self.config
        latents = pad_end(latents, 1, config.latents_per_chunk)
        b, frames, d = latents.shape
        latents = latents.reshape(b * frames, 1, d)
        tokens = mx.broadcast_to(self.new_tokens, (b * frames, config.stride, d))
        if config.latent_shortcut:
            tokens = tokens + self.shortcut(latents).reshape(b * frames, config.stride, d)
        h = mx.concatenate([latents, self.with_noise(tokens, noise)], axis=1)  # (b * l, g, d)
        h = self.attend(h.reshape(b, -1, d))
        patches = h.reshape(b, frames, config.group, d)[:, :, 1:].reshape(b, -1, d)
        return self.mapping(patches)


class Encoder(nn.Module):
    """Patches (b, c, n) to raw latents (b, l, latent_dim); keys keep the published layer numbers."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.layers = {"0": EncoderResampler(config), "2": Linear(config.width, config.latent_dim)}

    def __call__(self, patches: mx.array, noise: NoiseFn | None = None) -> mx.array:
        return self.layers["2"](self.layers["0"](patches.swapaxes(1, 2), noise))


class Decoder(nn.Module):
    """Raw latents (b, l, latent_dim) to patches (b, c, n)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.layers = {"1": Linear(config.latent_dim, config.width), "3": DecoderResampler(config)}

    def __call__(self, latents: mx.array, noise: NoiseFn | None = None) -> mx.array:
        return self.layers["3"](self.layers["1"](latents), noise).swapaxes(1, 2)


class SoftNorm(nn.Module):
    """The bottleneck: an affine map of each latent channel, then division by one running deviation."""

    def __init__(self, config: SoftNormConfig, encodes: bool) -> None:
        super().__init__()
        if encodes:
            self.scaling_factor = mx.ones((1, config.dim, 1))
            self.bias = mx.zeros((1, config.dim, 1))
        self.running_std = mx.ones((1,))
        self.noise_regularize = config.noise_regularize

    def encode(self, latents: mx.array) -> mx.array:
        return (latents * self.scaling_factor + self.bias) / self.running_std

    def decode(self, latents: mx.array, noise: NoiseFn | None) -> mx.array:
        latents = latents * self.running_std
        if noise is not None and self.noise_regularize:
            latents = latents + noise(latents.shape).astype(latents.dtype) * LATENT_NOISE * self.running_std
        return latents


class SAME(nn.Module):
    """Audio (b, channels, samples) to latents (b, latent_dim, l) and back; either half may be left out."""

    def __init__(self, config: SAMEConfig, halves: Collection[str] = ("encoder", "decoder")) -> None:
        super().__init__()
        self.config = config
        if "encoder" in halves:
            self.encoder = Encoder(config.encoder.config)
        if "decoder" in halves:
            self.decoder = Decoder(config.decoder.config)
        self.bottleneck = SoftNorm(config.bottleneck.config, "encoder" in halves)

    def encode(self, audio: mx.array, noise: NoiseFn | None = None) -> mx.array:
        """Encode; the end is padded with silence to whole patches, then to what the context rule needs.

        `noise` gives the draws that the published encoder makes, or is None for none.
        """
        return self.bottleneck.encode(self.encoder(to_patches(audio, self.config.patch_size), noise).swapaxes(1, 2))

    def decode(self, latents: mx.array, noise: NoiseFn | None = None) -> mx.array:
        """Decode; SAME-S answers an odd number of latents with one latent of audio too many."""
        raw = self.bottleneck.decode(latents, noise).swapaxes(1, 2)
        return from_patches(self.decoder(raw, noise), self.config.pretransform.config.channels)


def to_patches(audio: mx.array, patch: int) -> mx.array:
    """Cut audio (b, c, samples) into patches (b, c * patch, n), padding the end with silence."""
    audio = pad_end(audio, 2, patch)
    b, c, samples = audio.shape
    return audio.reshape(b, c, samples // patch, patch).swapaxes(2, 3).reshape(b, c * patch, -1)


def from_patches(patches: mx.array, channels: int) -> mx.array:
    """Undo `to_patches`, without its padding."""
    b, c, n = patches.shape
    return patches.reshape(b, channels, c // channels, n).swapaxes(2, 3).reshape(b, channels, -1)


def pad_end(x: mx.array, axis: int, multiple: int) -> mx.array:
    """Pad an axis of x with zeros at its end to a multiple."""
    missing = -x.shape[axis] % multiple
    return mx.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)]) if missing else x
