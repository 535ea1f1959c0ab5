"""Initialize an autoencoder as principal components plus noise levels in frequency bands.

Principal components cannot represent noise, whose waveform needs as many numbers as samples, although a listener only
needs its loudness. So some latent channels hold the level of the PCA residual in bands of both channels, and the
decoder generates noise of that level. Only weights of the published architecture are set: the encoder's first block
computes absolute values, and the decoder's last block, a sinusoidal one, generates carriers as sines of random sums of
the components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundloom.datasets.synthetic import SAMPLE_RATE
from soundloom.engines.torch.blocks import GatedProjection
from soundloom.engines.torch.stable_audio.same import SAME, DecoderResampler, EncoderResampler, SAMEBlock
from soundloom.errors import ConfigError
from soundloom.training.config import AutoencoderConfig
from soundloom.training.data.protocols import SoundSource
from soundloom.training.init.linear_codec import (
    TOKEN_LEVEL,
    fit_linear_codec,
    patch_rows,
    sample_crops,
    set_center_tap,
    set_kernel,
    set_linear,
    tensor,
    typed,
    zero_branches,
)
from soundloom.training.init.pca import LinearCodec, Matrix

CHANNELS = 2
PROBES = 2  # random projections of a patch; their mean magnitude is a level
CARRIERS = 2  # per band and channel, to avoid beating
KERNEL = 3  # length of a carrier in patches; neighbors overlap
SHARPNESS = 12.0  # of the smooth absolute value near zero
LEVEL = 0.2  # scale of probes and decoded levels, below the saturation of DyT
PHASE_SPREAD = 0.25  # of the random phases of carriers, in half turns per unit of a component
WINDOW, HOP = 2048, 1024  # samples, of the spectra for level matching
HIGH_QUANTILE, HIGH_VALUE = 0.99, 0.7  # a quantile of each level, and the latent value it is scaled to
LOUD = 0.8  # quantile of a band's power above which windows are used for level matching
ROUNDS = 3  # of level matching
POWER_FLOOR = 1e-9
MAX_CROPS = 100  # for level matching
Crops = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class ChannelLayout:
    """The use of the token channels. Raises ConfigError when the autoencoder has too few channels."""

    same: SAME
    edges: tuple[float, ...]  # of the bands in hertz
    has_threshold: bool = False

    def __post_init__(self) -> None:
        encoder, decoder = self.same.config.encoder.config, self.same.config.decoder.config
        needs = {
            "encoder width": (self.latents + self.levels + encoder.stride * self.probes, encoder.width),
            "decoder width": (max(2 * self.levels + self.carriers, self.latents + self.levels), decoder.width),
            "encoder's inner width": (2 * encoder.stride * self.probes, encoder.ff_inner),
            "decoder's inner width": (self.carriers + self.thresholded, decoder.ff_inner),
            "latent dimension": (self.levels + 1, self.same.config.latent_dim),
        }
        for name, (needed, found) in needs.items():
            if needed > found:
                raise ConfigError(f"noise_bands need an {name} of at least {needed}, found {found}")
        if not (encoder.latent_shortcut and decoder.latent_shortcut):
            raise ConfigError("noise_bands need latent_shortcut in encoder and decoder")
        if not (decoder.conv_mapping and decoder.is_sinusoidal(decoder.depth - 1)):
            raise ConfigError("noise_bands need conv_mapping and a last block in sinusoidal_blocks in the decoder")

    @property
    def levels(self) -> int:
        """Latent channels that hold levels: all bands of both audio channels."""
        return CHANNELS * (len(self.edges) - 1)

    @property
    def probes(self) -> int:
        return PROBES * self.levels

    @property
    def carriers(self) -> int:
        return CARRIERS * self.levels

    @property
    def thresholded(self) -> int:
        return self.components if self.has_threshold else 0

    @property
    def latents(self) -> int:
        """Latent channels that hold principal components."""
        return self.same.config.latent_dim - self.levels

    @property
    def components(self) -> int:
        """Components of a patch; probes, levels and carriers use the other channels of encoder and decoder."""
        widths = (self.same.config.encoder.config.width, self.same.config.decoder.config.width)
        return min(widths[0] - self.probes, widths[1] - self.levels - self.carriers)

    def atoms(self, samples: int, rng: np.random.Generator) -> Matrix:
        """Noise in the band of each level, (levels, samples), of unit norm; channels alternate."""
        return np.stack([_band_noise(samples, *band, rng) for band in pairwise(self.edges) for _ in range(CHANNELS)])


@torch.no_grad()
def init_noise_bands(same: SAME, sounds: SoundSource, config: AutoencoderConfig) -> None:
    """Set the weights so that the autoencoder computes principal components and levels of the residual noise.

    Raises ConfigError when it has too few channels.
    """
    layout = ChannelLayout(same, config.noise_bands, bool(config.soft_threshold))
    rng = np.random.default_rng(config.loop.seed)
    crops = sample_crops(same, sounds, config)
    codec = fit_linear_codec(same, crops, config, layout.components, layout.latents)
    crops = crops[:MAX_CROPS]
    into, out = typed(same.encoder.layers["0"], EncoderResampler), typed(same.decoder.layers["3"], DecoderResampler)
    for resampler in (into, out):
        zero_branches(resampler)
    _start_encoder(same, into, codec, layout, crops, rng)
    kernel = _start_decoder(same, out, codec, layout, rng)
    _scale_levels(same, layout, crops)
    _correct_carriers(same, out, kernel, codec, layout, crops)
    if config.soft_threshold:
        _soft_threshold(out, codec, layout, config.soft_threshold)


def _start_encoder(
    same: SAME,
    into: EncoderResampler,
    codec: LinearCodec,
    layout: ChannelLayout,
    crops: Crops,
    rng: np.random.Generator,
) -> None:
    patch, stride, width = same.config.patch_size, into.config.stride, into.config.width
    components, probes, latents = layout.components, layout.probes, layout.latents
    bands = np.zeros((probes, CHANNELS * patch))
    for probe, atom in enumerate(np.concatenate([layout.atoms(patch, rng) for _ in range(PROBES)])):
        channel = probe % CHANNELS
        bands[probe, channel * patch : (channel + 1) * patch] = atom
    rows = np.concatenate([patch_rows(crop, patch) for crop in crops])
    residual = (rows - codec.decode(codec.encode(rows))) @ bands.T
    gain = LEVEL / 2 / np.maximum(np.sqrt(np.mean(residual**2, axis=0)), POWER_FLOOR)
    bands *= gain[:, None]
    mapping = np.zeros((width, CHANNELS * patch))
    mapping[:components] = TOKEN_LEVEL * codec.analysis
    mapping[components : components + probes] = bands
    set_center_tap(into.mapping, tensor(mapping))

    # The new token holds the latents, then each patch's probes of the residual: input minus PCA reconstruction.
    gather = codec.gather.reshape(latents, stride, components)
    spread = codec.spread.reshape(latents, stride, components)
    shortcut = np.zeros((width, stride, width))
    shortcut[:latents, :, :components] = gather
    for position in range(stride):
        rows_here = latents + position * probes + np.arange(probes)
        reconstructed = (bands @ codec.synthesis.T) @ spread[:, position].T  # (probes, latents)
        shortcut[rows_here, :, :components] -= np.einsum("kz,zsc->ksc", reconstructed, gather) / TOKEN_LEVEL
        shortcut[rows_here, position, components + np.arange(probes)] += 1
    into.shortcut.weight.copy_(tensor(shortcut.reshape(width, stride * width)))
    _init_absolute_values(typed(into.transformers[0], SAMEBlock), layout, stride)
    last = typed(same.encoder.layers["2"], nn.Linear)
    set_linear(last, (slice(latents), slice(latents)), torch.eye(latents) / TOKEN_LEVEL)
    first_level = latents + stride * probes
    last.weight[latents:, first_level : first_level + layout.levels] = torch.eye(layout.levels)


def _feed_forward(block: SAMEBlock) -> tuple[nn.Linear, nn.Linear]:
    """The gated input layer, whose outputs are values, then gates, and the output layer."""
    return typed(block.ff.ff[0], GatedProjection).proj, typed(block.ff.ff[2], nn.Linear)


def _init_absolute_values(block: SAMEBlock, layout: ChannelLayout, stride: int) -> None:
    """Add each level, the mean absolute value of its probes over patches: silu(x) + silu(-x) = x tanh(x / 2)."""
    gated, back = _feed_forward(block)
    inner, probes, levels, latents = back.weight.shape[1], layout.probes, layout.levels, layout.latents
    used = 2 * stride * probes
    for half, bias in ((0, 1.0), (inner, 0.0)):  # values are 1, so that only the gates matter
        gated.weight[half : half + used] = 0
        gated.bias[half : half + used] = bias
    for unit in range(used):
        probe, negative = divmod(unit, 2)
        gated.weight[inner + unit, latents + probe] = -SHARPNESS if negative else SHARPNESS
        back.weight[latents + stride * probes + probe % levels, unit] = 1 / (SHARPNESS * stride * PROBES)


def _start_decoder(
    same: SAME, out: DecoderResampler, codec: LinearCodec, layout: ChannelLayout, rng: np.random.Generator
) -> Tensor:
    """Set all weights except the levels of carriers; return the last kernel (2 * patch, width, KERNEL)."""
    patch, stride, width = same.config.patch_size, out.config.stride, out.config.width
    components, levels, latents, carriers = layout.components, layout.levels, layout.latents, layout.carriers
    first = typed(same.decoder.layers["1"], nn.Linear)
    set_linear(first, (slice(latents), slice(latents)), torch.eye(latents) * TOKEN_LEVEL)
    first.weight[latents : latents + levels, latents:] = torch.eye(levels) * LEVEL
    shortcut = np.zeros((stride, width, width))
    shortcut[:, :components, :latents] = codec.spread.reshape(latents, stride, components).transpose(1, 2, 0)
    shortcut[:, components + np.arange(levels), latents + np.arange(levels)] = 1
    out.shortcut.weight.copy_(tensor(shortcut.reshape(stride * width, width)))

    block = typed(out.transformers[-1], SAMEBlock)
    gated, back = _feed_forward(block)
    inner, offset = back.weight.shape[1], components + levels
    for half, bias in ((0, np.zeros(carriers)), (inner, 2 * rng.random(carriers))):
        gated.weight[half : half + carriers] = 0
        gated.bias[half : half + carriers] = tensor(bias)
    kernel = torch.zeros(CHANNELS * patch, width, KERNEL)
    kernel[:, :components, KERNEL // 2] = tensor(codec.synthesis.T) / TOKEN_LEVEL
    atoms = np.concatenate([layout.atoms(KERNEL * patch, rng) for _ in range(CARRIERS)])
    for carrier, atom in enumerate(atoms):
        channel = carrier % CHANNELS
        gated.weight[carrier, components + carrier % levels] = 1
        gated.weight[inner + carrier, :components] = tensor(PHASE_SPREAD * rng.standard_normal(components))
        back.weight[offset + carrier, carrier] = 1
        # The first tap of a convolution reads the previous token, and renders the last part of its noise.
        parts = tensor(atom.reshape(KERNEL, patch)[::-1])
        kernel[channel * patch : (channel + 1) * patch, offset + carrier] = parts.T
    return kernel


def _soft_threshold(out: DecoderResampler, codec: LinearCodec, layout: ChannelLayout, size: float) -> None:
    """Soft-threshold components that are smaller than a latent of this size would produce.

    Errors of a generator are small and everywhere, such as hiss in silence. The block computes
    x - sin(k pi tanh(4 x)) / (4 k pi), which is nearly 0 near 0. Larger components change by at most the threshold.
    """
    block = typed(out.transformers[-1], SAMEBlock)
    gated, back = _feed_forward(block)
    inner, carriers, components = back.weight.shape[1], layout.carriers, layout.components
    slope = float(block.ff_norm.alpha)
    scales = np.linalg.norm(codec.spread.reshape(layout.latents, -1, components), axis=0).mean(0)
    for component, scale in enumerate(scales):
        cycles = max(1, round(1 / (slope * np.pi * TOKEN_LEVEL * size * scale)))
        unit = carriers + component
        gated.weight[[unit, inner + unit]] = 0
        gated.bias[unit], gated.bias[inner + unit] = 1.0, 0.0
        gated.weight[inner + unit, component] = cycles
        back.weight[:, unit] = 0
        back.weight[component, unit] = -1 / (slope * np.pi * cycles)


def _scale_levels(same: SAME, layout: ChannelLayout, crops: Crops) -> None:
    """Shift and scale the level latents to zero mean and a moderate range; the decoder inverts this.

    Most sounds have little noise: at unit variance, levels of noisy sounds would exceed all other latents.
    """
    last, first = (typed(same.get_submodule(name), nn.Linear) for name in ("encoder.layers.2", "decoder.layers.1"))
    levels = slice(layout.latents, None)
    found = torch.cat([same.encode(torch.from_numpy(crop)[None])[0] for crop in crops], dim=1)[levels]
    mean = found.mean(1)
    size = ((found.quantile(HIGH_QUANTILE, dim=1) - mean) / HIGH_VALUE).clamp_min(POWER_FLOOR)
    last.weight[levels] /= size[:, None]
    last.bias[levels] = -mean / size
    first.weight[:, levels] *= size
    first.bias.add_(first.weight[:, levels] @ (mean / size))


def _correct_carriers(
    same: SAME, out: DecoderResampler, kernel: Tensor, codec: LinearCodec, layout: ChannelLayout, crops: Crops
) -> None:
    """Scale carriers until loud noise has the power of the residual of the components."""
    offset = layout.components + layout.levels
    set_kernel(out.mapping, kernel)
    linear = [_decoded_linearly(codec, crop, same.config.patch_size) for crop in crops]
    target = _all_powers(crops, linear, layout.edges)
    loud = target > np.quantile(target, LOUD, axis=-1, keepdims=True)
    for _ in range(ROUNDS):
        decoded = [same.decode(same.encode(torch.from_numpy(crop)[None]))[0].numpy() for crop in crops]
        found = _all_powers(decoded, linear, layout.edges)
        ratio = np.log(target + POWER_FLOOR) - np.log(found + POWER_FLOOR)
        for carrier in range(layout.carriers):
            band, channel = divmod(carrier % layout.levels, CHANNELS)
            kernel[:, offset + carrier] *= float(np.exp(np.median(ratio[channel, band][loud[channel, band]]) / 2))
        set_kernel(out.mapping, kernel)


def _decoded_linearly(codec: LinearCodec, crop: NDArray[np.float32], patch: int) -> Matrix:
    """Reconstruct a crop (2, n) from its components alone."""
    rows = codec.decode(codec.encode(patch_rows(crop, patch)))
    return rows.reshape(-1, CHANNELS, patch).transpose(1, 0, 2).reshape(CHANNELS, -1)


def _all_powers(sounds: Crops, linear: Sequence[Matrix], edges: tuple[float, ...]) -> Matrix:
    """Power (2, bands, windows) of all sounds minus their linear reconstructions."""
    return np.concatenate([_powers(sound - part, edges) for sound, part in zip(sounds, linear, strict=True)], axis=-1)


def _powers(sound: Matrix, edges: tuple[float, ...]) -> Matrix:
    """Power (2, bands, windows) of a sound."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW, -1)[:, ::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)) ** 2
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    return np.stack([power[..., (hertz >= low) & (hertz < high)].sum(-1) for low, high in pairwise(edges)], 1)


def _band_noise(samples: int, low: float, high: float, rng: np.random.Generator) -> Matrix:
    """Windowed noise (samples,) in a band, of unit norm."""
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    inside = (hertz >= low) & (hertz < high)
    spectrum = inside * np.exp(2j * np.pi * rng.random(len(hertz)))
    sound = np.fft.irfft(spectrum, samples) * np.hanning(samples)
    return np.asarray(sound / np.linalg.norm(sound))
