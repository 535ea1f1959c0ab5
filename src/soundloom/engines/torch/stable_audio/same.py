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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig, SoftNormConfig
from soundloom.engines.torch.blocks import (
    DyT,
    FeedForward,
    Linear,
    RotaryEmbedding,
    SelfAttention,
    normal,
    rope_channels,
)
from soundloom.engines.torch.memory import last_level_cache

NoiseFn = Callable[[torch.Size], Tensor]  # standard normal noise of a shape
BYTES_PER_CHANNEL = 40  # of a token, live at once in a block: the residual stream and five projections in two dtypes
CACHE_SHARE = 2  # groups take half of the cache; weights and other programs use the rest
LATENT_NOISE = 1e-3  # of the running deviation; the published decoder adds it in inference too


class WeightNormConv(nn.Module):
    """Weight-normalized convolution over x (b, n, c), with zero padding; kernel sizes are odd."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(normal(channels_out, channels_in, kernel, scale=(channels_in * kernel) ** -0.5))
        v = self.weight_v.detach()
        gain = normal(channels_out, 1, 1) if v.is_meta else v.norm(dim=(1, 2), keepdim=True)
        self.weight_g = nn.Parameter(gain)
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_g * self.weight_v / self.weight_v.norm(dim=(1, 2), keepdim=True)
        if weight.shape[-1] == 1:
            return F.linear(x, weight[:, :, 0], self.bias)
        return F.conv1d(x.transpose(1, 2), weight, self.bias, padding=weight.shape[-1] // 2).transpose(1, 2)


class SAMEBlock(nn.Module):
    """Attention and feed-forward, each applied to a DyT and added to the residual stream."""

    def __init__(self, config: ResamplerConfig, sinusoidal: bool) -> None:
        super().__init__()
        d = config.width
        self.pre_norm, self.ff_norm = DyT(d), DyT(d)
        self.self_attn = SelfAttention(d, config.dim_heads, DyT, config.differential)
        self.ff = FeedForward(d, config.ff_inner, sinusoidal)

    def forward(self, h: Tensor, rotary: RotaryEmbedding, window: int | None) -> Tensor:
        h = h + self.self_attn(self.pre_norm(h), rotary, window=window)
        return h + self.ff(self.ff_norm(h))


class Resampler(nn.Module):
    """The transformer of the encoder or decoder; subclasses insert and extract tokens."""

    def __init__(self, config: ResamplerConfig, patch_channels: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        self.mapping = WeightNormConv(*patch_channels, 3 if config.conv_mapping else 1)
        self.new_tokens = nn.Parameter(normal(1, 1, config.width, scale=1e-5))
        self.transformers = nn.ModuleList(SAMEBlock(config, config.is_sinusoidal(i)) for i in range(config.depth))

    def attend(self, h: Tensor) -> Tensor:
        """Run the blocks over tokens h (b, l * g, d), within a sliding window or in chunks as configured."""
        config = self.config
        if config.sliding_window is not None:
            return self._run(h, self.transformers, window=config.sliding_window[0] * config.group)
        half, chunk = config.depth // 2, config.latents_per_chunk * config.group
        shift = chunk // 2
        h = self._run_chunks(h, chunk, self.transformers[:half])
        h = torch.cat([h[:, :shift], h, h[:, -shift:]], dim=1)
        h = self._run_chunks(h, chunk, self.transformers[half:])
        return h[:, shift:-shift]

    def _run_chunks(self, h: Tensor, chunk: int, blocks: nn.ModuleList) -> Tensor:
        """Run blocks over h (b, n, d), split into chunks that attend only to themselves.

        On a CPU, each group of chunks passes all blocks before the next group, so that it stays in the cache.
        """
        chunks = h.reshape(-1, chunk, h.shape[-1])
        size = max(group_tokens(h.shape[-1]) // chunk, 1) if h.is_cpu else len(chunks)
        return torch.cat([self._run(group, blocks) for group in chunks.split(size)]).view(h.shape)

    def _run(self, h: Tensor, blocks: nn.ModuleList, window: int | None = None) -> Tensor:
        rotary = RotaryEmbedding.table(h.shape[1], rope_channels(self.config.dim_heads), h.device)
        for block in blocks:
            h = block(h, rotary, window)
        return h

    def add_noise(self, tokens: Tensor, noise_fn: NoiseFn | None) -> Tensor:
        """Add the configured noise to new tokens (b * l, _, d), if there is a `noise_fn`."""
        if noise_fn is None or not self.config.mask_noise:
            return tokens
        return tokens + noise_fn(tokens.shape).to(tokens) * self.config.mask_noise


def group_tokens(width: int) -> int:
    """Return how many tokens to run through the blocks at once on a CPU."""
    return max(last_level_cache() // (CACHE_SHARE * BYTES_PER_CHANNEL * width), 1)


class EncoderResampler(Resampler):
    """Resamples patches (b, n, c) to one token per latent (b, l, d)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__(config, (config.in_channels, config.width))
        if config.latent_shortcut:
            self.shortcut = Linear(config.stride * config.width, config.width, bias=False)

    def forward(self, patches: Tensor, noise_fn: NoiseFn | None) -> Tensor:
        config = self.config
        multiple = config.stride * config.latents_per_chunk
        patches = F.pad(patches, (0, 0, 0, -patches.shape[1] % multiple))  # silence, mapped like audio
        b, n, _ = patches.shape
        groups = self.mapping(patches).reshape(b * (n // config.stride), config.stride, config.width)
        tokens = self.new_tokens.expand(len(groups), 1, -1)
        if config.latent_shortcut:
            tokens = tokens + self.shortcut(groups.flatten(1))[:, None]
        h = torch.cat([groups, self.add_noise(tokens, noise_fn)], dim=1)  # (b * l, g, d)
        h = self.attend(h.reshape(b, -1, config.width))
        return h.reshape(b, -1, config.group, config.width)[:, :, -1]


class DecoderResampler(Resampler):
    """Resamples latent tokens (b, l, d) to patches (b, n, c)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__(config, (config.width, config.out_channels))
        if config.latent_shortcut:
            self.shortcut = Linear(config.width, config.stride * config.width, bias=False)

    def forward(self, latents: Tensor, noise_fn: NoiseFn | None) -> Tensor:
        config = self.config
        latents = F.pad(latents, (0, 0, 0, -latents.shape[1] % config.latents_per_chunk))
        b, frames, d = latents.shape
        latents = latents.reshape(b * frames, 1, d)
        tokens = self.new_tokens.expand(b * frames, config.stride, -1)
        if config.latent_shortcut:
            tokens = tokens + self.shortcut(latents).view(b * frames, config.stride, d)
        h = torch.cat([latents, self.add_noise(tokens, noise_fn)], dim=1)  # (b * l, g, d)
        h = self.attend(h.reshape(b, -1, d))
        patches = h.reshape(b, frames, config.group, d)[:, :, 1:].reshape(b, -1, d)
        return self.mapping(patches)


class Encoder(nn.Module):
    """Patches (b, c, n) to raw latents (b, l, latent_dim); keys are the published layer numbers."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"0": EncoderResampler(config), "2": Linear(config.width, config.latent_dim)})

    def forward(self, patches: Tensor, noise_fn: NoiseFn | None = None) -> Tensor:
        return self.layers["2"](self.layers["0"](patches.transpose(1, 2), noise_fn))


class Decoder(nn.Module):
    """Raw latents (b, l, latent_dim) to patches (b, c, n)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"1": Linear(config.latent_dim, config.width), "3": DecoderResampler(config)})

    def forward(self, latents: Tensor, noise_fn: NoiseFn | None = None) -> Tensor:
        return self.layers["3"](self.layers["1"](latents), noise_fn).transpose(1, 2)


class SoftNorm(nn.Module):
    """The bottleneck: an affine map of each latent channel, then division by a running standard deviation."""

    running_std: Tensor

    def __init__(self, config: SoftNormConfig, encodes: bool) -> None:
        super().__init__()
        if encodes:
            self.scaling_factor = nn.Parameter(torch.ones(1, config.dim, 1))
            self.bias = nn.Parameter(torch.zeros(1, config.dim, 1))
        self.register_buffer("running_std", torch.ones(1))
        self.noise_regularize = config.noise_regularize

    def encode(self, latents: Tensor) -> Tensor:
        return (latents * self.scaling_factor + self.bias) / self.running_std

    def decode(self, latents: Tensor, noise_fn: NoiseFn | None) -> Tensor:
        latents = latents * self.running_std
        if noise_fn is not None and self.noise_regularize:
            latents = latents + noise_fn(latents.shape).to(latents) * LATENT_NOISE * self.running_std
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

    def allow_inexact(self) -> None:
        """Let DyT be inexact by less than the error of BF16 matmuls, which is faster on a CPU."""
        for module in self.modules():
            if isinstance(module, DyT):
                module.exact = False

    def encode(self, audio: Tensor, noise_fn: NoiseFn | None = None) -> Tensor:
        """Encode audio, padding its end with silence; `noise_fn` adds the noise of the published encoder."""
        return self.bottleneck.encode(self.encoder(to_patches(audio, self.config.patch_size), noise_fn).transpose(1, 2))

    def decode(self, latents: Tensor, noise_fn: NoiseFn | None = None) -> Tensor:
        """Decode latents; SAME-S returns one latent of audio too many for an odd number of latents."""
        raw = self.bottleneck.decode(latents, noise_fn).transpose(1, 2)
        return from_patches(self.decoder(raw, noise_fn), self.config.pretransform.config.channels)


def to_patches(audio: Tensor, patch: int) -> Tensor:
    """Split audio (b, c, samples) into patches (b, c * patch, n), padding the end with silence."""
    audio = F.pad(audio, (0, -audio.shape[-1] % patch))
    b, c, samples = audio.shape
    return audio.reshape(b, c, samples // patch, patch).transpose(2, 3).reshape(b, c * patch, -1)


def from_patches(patches: Tensor, channels: int) -> Tensor:
    """Invert `to_patches`; padding stays."""
    b, c, n = patches.shape
    return patches.reshape(b, channels, c // channels, n).transpose(2, 3).reshape(b, channels, -1)
