"""Discriminators of real and decoded audio, each with its own front end.

Convolutions read a complex spectrogram as an image. Transformers with the autoencoder's blocks read patches of the
waveform, spectra or chroma, and give one score for each group of frames.
Letters for axes: b batch, c channels, n front-end frames, l scores, d width.
Source: EnCodec's multi-scale discriminator, and the ensemble of SAME as described for its training code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from soundloom.config.stable_audio.same import ResamplerConfig
from soundloom.engines.torch.blocks import DyT, RMSNorm
from soundloom.engines.torch.stable_audio.same import EncoderResampler, to_patches
from soundloom.training.config import DiscriminatorConfig
from soundloom.training.objectives.feature_matching import outputs_of
from soundloom.training.objectives.spectral.filterbanks import chroma_bank
from soundloom.training.objectives.spectral.losses import tight_stft

CHROMA_BINS = 64
HEAD_WIDTH, FF_MULT = 64, 1.5
MIN_WIDTH, MAX_WIDTH = 192, 512
MATCHED_BLOCKS = 2  # blocks whose outputs are used for feature matching
NORM_EPS = 1e-5


@dataclass(frozen=True)
class DiscriminatorOutput:
    """Scores of a batch, high for real, and intermediate features."""

    scores: Tensor  # (b, ...)
    features: list[Tensor]


class ConvolutionDiscriminator(nn.Module):
    """Two-dimensional convolutions over real and imaginary parts of all channels."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.size = config.size
        f = config.filters
        first = _conv(4, f, (3, 9))
        dilated = [_conv(f, f, (3, 9), dilation) for dilation in (1, 2, 4)]
        self.layers = nn.ModuleList([first, *dilated, _conv(f, f, (3, 3))])
        self.score = _conv(f, 1, (3, 3))

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        """Score audio (b, 2, samples)."""
        taper = torch.hann_window(self.size, device=audio.device)
        frames = audio.unfold(-1, self.size, self.size // 4) * (taper / taper.norm())
        spectrum = torch.fft.rfft(frames)
        h = torch.cat([spectrum.real, spectrum.imag], dim=1)  # (b, 4, n, bins)
        features = []
        for layer in self.layers:
            h = F.leaky_relu(layer(h), 0.2)
            features.append(h)
        return DiscriminatorOutput(self.score(h), features)


def _conv(channels_in: int, channels_out: int, kernel: tuple[int, int], dilation: int = 1) -> nn.Module:
    """A weight-normalized convolution over (time, frequency) that preserves the size; time may be dilated."""
    padding = (dilation * (kernel[0] // 2), kernel[1] // 2)
    return weight_norm(nn.Conv2d(channels_in, channels_out, kernel, padding=padding, dilation=(dilation, 1)))


class TransformerDiscriminator(nn.Module):
    """A front end, the encoder's blocks with RMS norms, and a score for each output token."""

    def __init__(self, config: DiscriminatorConfig, front: nn.Module, channels: int) -> None:
        super().__init__()
        width = config.width or discriminator_width(channels)
        self.front = front
        self.gather = EncoderResampler(
            ResamplerConfig(
                channels=width,
                c_mults=(1,),
                strides=(config.stride,),
                latent_dim=width,
                transformer_depths=(config.depth,),
                in_channels=channels,
                dim_heads=HEAD_WIDTH,
                ff_mult=FF_MULT,
                sliding_window=(config.window, config.window),
            )
        )
        _replace_norms(self.gather)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        """Score audio (b, 2, samples)."""
        with outputs_of(self.gather.transformers[:MATCHED_BLOCKS]) as features:
            tokens = self.gather(self.front(audio), None)  # (b, l, d)
        return DiscriminatorOutput(self.score(tokens)[..., 0], features)


def discriminator_width(channels: int) -> int:
    """Width of the published ensemble for a front end with this many channels."""
    rule = HEAD_WIDTH * round(16 * math.sqrt(channels) / HEAD_WIDTH)
    return min(max(rule, MIN_WIDTH), MAX_WIDTH)


def _replace_norms(module: nn.Module) -> None:
    """Replace DyT, whose tanh hides magnitudes from a discriminator, by RMS norms."""
    for name, child in module.named_children():
        if isinstance(child, DyT):
            setattr(module, name, RMSNorm(len(child.gamma), NORM_EPS))
        else:
            _replace_norms(child)


class Patches(nn.Module):
    """Audio (b, 2, samples) to patches (b, n, 2 * size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, audio: Tensor) -> Tensor:
        return to_patches(audio, self.size).transpose(1, 2)


class Spectrum(nn.Module):
    """Audio (b, 2, samples) to real and imaginary parts of spectra (b, n, 4 * bins)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = demodulated(tight_stft(audio, self.size, 2))
        return torch.view_as_real(spectrum).permute(0, 2, 1, 4, 3).flatten(2)


def demodulated(spectrum: Tensor) -> Tensor:
    """Remove the phase that hops of half a window add at the center frequency of each bin of (..., n, bins)."""
    frames, bins = (torch.arange(size, device=spectrum.device) % 2 for size in spectrum.shape[-2:])
    return spectrum * (1 - 2 * frames[:, None] * bins)


class ChromaFrontEnd(nn.Module):
    """Audio (b, 2, samples) to log chroma around an octave (b, n, 2 * 64)."""

    def __init__(self, config: DiscriminatorConfig, rate: int) -> None:
        super().__init__()
        self.size = config.size
        bank = chroma_bank(CHROMA_BINS, config.size, rate, config.octave, config.octave_width)
        self.register_buffer("bank", torch.from_numpy(bank).float().T, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        chroma = tight_stft(audio, self.size, 2).abs() @ self.get_buffer("bank")  # (b, 2, n, 64)
        return torch.log1p(chroma).transpose(1, 2).flatten(2)


def build_discriminator(config: DiscriminatorConfig, rate: int) -> nn.Module:
    """Build the discriminator of a configuration."""
    if config.kind == "convolution":
        return ConvolutionDiscriminator(config)
    if config.kind == "patches":
        return TransformerDiscriminator(config, Patches(config.size), 2 * config.size)
    if config.kind == "spectrum":
        return TransformerDiscriminator(config, Spectrum(config.size), 2 * (config.size + 2))
    return TransformerDiscriminator(config, ChromaFrontEnd(config, rate), 2 * CHROMA_BINS)
