"""SAME autoencoders: stereo audio to latents and back, with transformers as resamplers.

The encoder maps patches to its width, appends one new token to every `stride` patches, and outputs only these tokens
after its blocks. The decoder appends `stride` new tokens to each latent and outputs only these. SAME-S attends within
chunks of two latents, shifted by half a chunk for the second half of its blocks; SAME-L within a sliding window.
Attention is differential and computes in float32, because its difference cancels badly in half precision.
Letters for axes: b batch, c channels, n patches, l latents, g = stride + 1 tokens of a latent, d width.
Source: stable-audio-3, models/autoencoders.py and models/bottleneck.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import mlx.core as mx
from mlx import nn

from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig, SoftNormConfig
from soundloom.engines.mlx.blocks import DyT, FeedForward, Linear, RotaryEmbedding, SelfAttention, rope_channels

NoiseFn = Callable[[tuple[int, ...]], mx.array]  # standard normal noise of a shape
LATENT_NOISE = 1e-3  # of the running deviation; the published decoder adds it in inference too
# Tokens whose chunks run through the blocks together. Activations of SAME-S take 110 kB per token, so 120 MB per group,
# however long the audio and large the batch; matrices of a thousand rows still have work for a whole GPU.
GROUP_TOKENS = 1088


class WeightNormConv(nn.Module):
    """Weight-normalized convolution over x (b, n, c), with zero padding; kernel sizes are odd."""

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
    """Return the Euclidean norms (out, 1, 1) of the output channels of a kernel (out, in, k)."""
    return mx.sqrt((weight * weight).sum(axis=(1, 2), keepdims=True))


class SAMEBlock(nn.Module):
    """Attention and feed-forward, each applied to a DyT and added to the residual stream."""

    def __init__(self, config: ResamplerConfig, sinusoidal: bool) -> None:
        super().__init__()
        d = config.width
        self.pre_norm, self.ff_norm = DyT(d), DyT(d)
        self.self_attn = SelfAttention(d, config.dim_heads, DyT, config.differential)
        self.ff = FeedForward(d, config.ff_inner, sinusoidal)

    def __call__(self, h: mx.array, rotary: RotaryEmbedding, window: int | None) -> mx.array:
        h = h + self.self_attn(self.pre_norm(h), rotary, window=window)
        return h + self.ff(self.ff_norm(h))


class Resampler(nn.Module):
    """The transformer of the encoder or decoder; subclasses insert and extract tokens."""

    def __init__(self, config: ResamplerConfig, patch_channels: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        self.mapping = WeightNormConv(*patch_channels, 3 if config.conv_mapping else 1)
        self.new_tokens = 1e-5 * mx.random.normal((1, 1, config.width))
        self.transformers = [SAMEBlock(config, config.is_sinusoidal(i)) for i in range(config.depth)]

    def attend(self, h: mx.array) -> mx.array:
        """Run the blocks over tokens h (b, l * g, d), within a sliding window or in chunks as configured."""
        config = self.config
        if config.sliding_window is not None:
            return self._run(h, self.transformers, window=config.sliding_window[0] * config.group)
        half, chunk = config.depth // 2, config.latents_per_chunk * config.group
        shift = chunk // 2
        h = self._run_chunks(h, chunk, self.transformers[:half])
        h = mx.concatenate([h[:, :shift], h, h[:, -shift:]], axis=1)
        return self._run_chunks(h, chunk, self.transformers[half:])[:, shift:-shift]

    def _run_chunks(self, h: mx.array, chunk: int, blocks: list[SAMEBlock]) -> mx.array:
        """Run blocks over h (b, n, d), split into independent chunks, in groups that bound memory."""
        b, n, d = h.shape
        chunks = h.reshape(b * (n // chunk), chunk, d)
        size = max(GROUP_TOKENS // chunk, 1)
        groups = []
        for start in range(0, len(chunks), size):
            groups.append(self._run(chunks[start : start + size], blocks))
            mx.eval(groups[-1])  # else MLX computes groups side by side, and all their activations are alive
        return mx.concatenate(groups).reshape(b, n, d)

    def _run(self, h: mx.array, blocks: list[SAMEBlock], window: int | None = None) -> mx.array:
        rotary = RotaryEmbedding.table(h.shape[1], rope_channels(self.config.dim_heads))
        for block in blocks:
            h = block(h, rotary, window)
        return h

    def add_noise(self, tokens: mx.array, noise_fn: NoiseFn | None) -> mx.array:
        """Add the configured noise to new tokens (b * l, _, d), if there is a `noise_fn`."""
        if noise_fn is None or not self.config.mask_noise:
            return tokens
        return tokens + noise_fn(tokens.shape).astype(tokens.dtype) * self.config.mask_noise


class EncoderResampler(Resampler):
    """Resamples patches (b, n, c) to one token per latent (b, l, d)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__(config, (config.in_channels, config.width))
        if config.latent_shortcut:
            self.shortcut = Linear(config.stride * config.width, config.width, bias=False)

    def __call__(self, patches: mx.array, noise_fn: NoiseFn | None) -> mx.array:
        config = self.config
        multiple = config.stride * config.latents_per_chunk
        patches = pad_end(patches, 1, multiple)  # silence, mapped like audio
        b, n, _ = patches.shape
        groups = self.mapping(patches).reshape(b * (n // config.stride), config.stride, config.width)
        tokens = mx.broadcast_to(self.new_tokens, (len(groups), 1, config.width))
        if config.latent_shortcut:
            tokens = tokens + self.shortcut(groups.flatten(1))[:, None]
        h = mx.concatenate([groups, self.add_noise(tokens, noise_fn)], axis=1)  # (b * l, g, d)
        h = self.attend(h.reshape(b, -1, config.width))
        return h.reshape(b, -1, config.group, config.width)[:, :, -1]


class DecoderResampler(Resampler):
    """Resamples latent tokens (b, l, d) to patches (b, n, c)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__(config, (config.width, config.out_channels))
        if config.latent_shortcut:
            self.shortcut = Linear(config.width, config.stride * config.width, bias=False)

    def __call__(self, latents: mx.array, noise_fn: NoiseFn | None) -> mx.array:
        config = self.config
        latents = pad_end(latents, 1, config.latents_per_chunk)
        b, frames, d = latents.shape
        latents = latents.reshape(b * frames, 1, d)
        tokens = mx.broadcast_to(self.new_tokens, (b * frames, config.stride, d))
        if config.latent_shortcut:
            tokens = tokens + self.shortcut(latents).reshape(b * frames, config.stride, d)
        h = mx.concatenate([latents, self.add_noise(tokens, noise_fn)], axis=1)  # (b * l, g, d)
        h = self.attend(h.reshape(b, -1, d))
        patches = h.reshape(b, frames, config.group, d)[:, :, 1:].reshape(b, -1, d)
        return self.mapping(patches)


class Encoder(nn.Module):
    """Patches (b, c, n) to raw latents (b, l, latent_dim); keys are the published layer numbers."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.layers = {"0": EncoderResampler(config), "2": Linear(config.width, config.latent_dim)}

    def __call__(self, patches: mx.array, noise_fn: NoiseFn | None = None) -> mx.array:
        return self.layers["2"](self.layers["0"](patches.swapaxes(1, 2), noise_fn))


class Decoder(nn.Module):
    """Raw latents (b, l, latent_dim) to patches (b, c, n)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.layers = {"1": Linear(config.latent_dim, config.width), "3": DecoderResampler(config)}

    def __call__(self, latents: mx.array, noise_fn: NoiseFn | None = None) -> mx.array:
        return self.layers["3"](self.layers["1"](latents), noise_fn).swapaxes(1, 2)


class SoftNorm(nn.Module):
    """The bottleneck: an affine map of each latent channel, then division by a running standard deviation."""

    def __init__(self, config: SoftNormConfig, encodes: bool) -> None:
        super().__init__()
        if encodes:
            self.scaling_factor = mx.ones((1, config.dim, 1))
            self.bias = mx.zeros((1, config.dim, 1))
        self.running_std = mx.ones((1,))
        self.noise_regularize = config.noise_regularize

    def encode(self, latents: mx.array) -> mx.array:
        return (latents * self.scaling_factor + self.bias) / self.running_std

    def decode(self, latents: mx.array, noise_fn: NoiseFn | None) -> mx.array:
        latents = latents * self.running_std
        if noise_fn is not None and self.noise_regularize:
            latents = latents + noise_fn(latents.shape).astype(latents.dtype) * LATENT_NOISE * self.running_std
        return latents


class SAME(nn.Module):
    """Encodes audio (b, channels, samples) to latents (b, latent_dim, l) and back; `halves` may be only one."""

    def __init__(self, config: SAMEConfig, halves: Collection[str] = ("encoder", "decoder")) -> None:
        super().__init__()
        self.config = config
        if "encoder" in halves:
            self.encoder = Encoder(config.encoder.config)
        if "decoder" in halves:
            self.decoder = Decoder(config.decoder.config)
        self.bottleneck = SoftNorm(config.bottleneck.config, "encoder" in halves)

    def encode(self, audio: mx.array, noise_fn: NoiseFn | None = None) -> mx.array:
        """Encode audio, padding its end with silence; `noise_fn` adds the noise of the published encoder."""
        return self.bottleneck.encode(self.encoder(to_patches(audio, self.config.patch_size), noise_fn).swapaxes(1, 2))

    def decode(self, latents: mx.array, noise_fn: NoiseFn | None = None) -> mx.array:
        """Decode latents; SAME-S returns one latent of audio too many for an odd number of latents."""
        raw = self.bottleneck.decode(latents, noise_fn).swapaxes(1, 2)
        return from_patches(self.decoder(raw, noise_fn), self.config.pretransform.config.channels)


def to_patches(audio: mx.array, patch: int) -> mx.array:
    """Split audio (b, c, samples) into patches (b, c * patch, n), padding the end with silence."""
    audio = pad_end(audio, 2, patch)
    b, c, samples = audio.shape
    return audio.reshape(b, c, samples // patch, patch).swapaxes(2, 3).reshape(b, c * patch, -1)


def from_patches(patches: mx.array, channels: int) -> mx.array:
    """Invert `to_patches`; padding stays."""
    b, c, n = patches.shape
    return patches.reshape(b, channels, c // channels, n).swapaxes(2, 3).reshape(b, channels, -1)


def pad_end(x: mx.array, axis: int, multiple: int) -> mx.array:
    """Pad the end of an axis of x with zeros to a multiple."""
    missing = -x.shape[axis] % multiple
    return mx.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)]) if missing else x
