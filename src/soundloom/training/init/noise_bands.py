"""An autoencoder that starts as principal components and, beside them, the loudness of noise in bands of frequency.

Principal components lose what is noise: its waveform needs as many numbers as it has samples. An ear needs its loudness
alone. So some latents hold the level of what the components leave out, in bands of both channels, and the decoder makes
noise of that level itself. All of it is weights of the published architecture: the encoder's first block takes absolute
values, and the decoder's last block, a sinusoidal one, makes carriers as sines of random sums of the components.
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
    set_kernel,
    set_linear,
    set_whole_kernel,
    tensor,
    typed,
    zero_branches,
)
from soundloom.training.init.pca import LinearCodec, Matrix

CHANNELS = 2
PROBES = 2  # random sums of a patch that a level is the mean size of: one alone is hardly ever as loud as the noise
CARRIERS = 2  # of a band and channel, so that its noise does not beat with itself
KERNEL = 3  # patches over which a carrier is heard: noise of neighboring patches overlaps
SHARPNESS = 12.0  # of the encoder's absolute value near zero
LEVEL = 0.2  # of the encoder's probes, and of levels in the decoder: clear of the bend of DyT
PHASE_SPREAD = 0.25  # of the random sums that carriers are sines of, in half turns per unit of a component
WINDOW, HOP = 2048, 1024  # samples of the spectra that levels are compared in
LOUDEST, LOUDEST_SIZE = 0.99, 0.7  # quantile of a level, and the size that its latent has there
LOUD = 0.8  # quantile of a band's power above which it counts for the comparison
ROUNDS = 3  # of measuring and correcting the carriers' levels
SMALLEST = 1e-9  # power
MOST_CROPS = 100  # that levels are fitted to
Crops = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class ChannelLayout:
    """Which channels of the tokens hold what. Raises ConfigError where the autoencoder has no room for that."""

    same: SAME
    edges: tuple[float, ...]  # of the bands, hertz
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
        """Bands of both channels: latents that hold a level."""
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
        """Latents that hold principal components."""
        return self.same.config.latent_dim - self.levels

    @property
    def components(self) -> int:
        """Components of a patch; probes, levels and carriers need the other channels of both halves."""
        widths = (self.same.config.encoder.config.width, self.same.config.decoder.config.width)
        return min(widths[0] - self.probes, widths[1] - self.levels - self.carriers)

    def atoms(self, samples: int, rng: np.random.Generator) -> Matrix:
        """Noise of each level's band, (levels, samples), of unit power together; channels alternate."""
        return np.stack([_band_noise(samples, *band, rng) for band in pairwise(self.edges) for _ in range(CHANNELS)])


@torch.no_grad()
def init_noise_bands(same: SAME, sounds: SoundSource, config: AutoencoderConfig) -> None:
    """Make the autoencoder compute principal components and the levels of the noise that these leave out.

    Raises ConfigError where it has too few channels for that.
    """
    layout, rng = (
        ChannelLayout(same, config.noise_bands, bool(config.soft_threshold)),
        np.random.default_rng(config.loop.seed),
    )
    crops = sample_crops(same, sounds, config)
    codec = fit_linear_codec(same, crops, config, layout.components, layout.latents)
    crops = crops[:MOST_CROPS]
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
    left_out = (rows - codec.decode(codec.encode(rows))) @ bands.T
    gain = LEVEL / 2 / np.maximum(np.sqrt(np.mean(left_out**2, axis=0)), SMALLEST)
    bands *= gain[:, None]
    mapping = np.zeros((width, CHANNELS * patch))
    mapping[:components] = TOKEN_LEVEL * codec.analysis
    mapping[components : components + probes] = bands
    set_kernel(into.mapping, tensor(mapping))

    # The new token holds the latents, then what each patch's probes find without what the components bring back.
    gather = codec.gather.reshape(latents, stride, components)
    spread = codec.spread.reshape(latents, stride, components)
    shortcut = np.zeros((width, stride, width))
    shortcut[:latents, :, :components] = gather
    for position in range(stride):
        rows_here = latents + position * probes + np.arange(probes)
        brought_back = (bands @ codec.synthesis.T) @ spread[:, position].T  # (probes, latents)
        shortcut[rows_here, :, :components] -= np.einsum("kz,zsc->ksc", brought_back, gather) / TOKEN_LEVEL
        shortcut[rows_here, position, components + np.arange(probes)] += 1
    into.shortcut.weight.copy_(tensor(shortcut.reshape(width, stride * width)))
    _take_absolute_values(typed(into.transformers[0], SAMEBlock), layout, stride)
    last = typed(same.encoder.layers["2"], nn.Linear)
    set_linear(last, (slice(latents), slice(latents)), torch.eye(latents) / TOKEN_LEVEL)
    behind = latents + stride * probes
    last.weight[latents:, behind : behind + layout.levels] = torch.eye(layout.levels)


def _feed_forward(block: SAMEBlock) -> tuple[nn.Linear, nn.Linear]:
    """The layer whose outputs are values and then gates, and the one behind their products."""
    return typed(block.ff.ff[0], GatedProjection).proj, typed(block.ff.ff[2], nn.Linear)


def _take_absolute_values(block: SAMEBlock, layout: ChannelLayout, stride: int) -> None:
    """Add each level, the mean of its probes' absolute values in all patches: silu(x) + silu(-x) = x tanh(x / 2)."""
    gated, back = _feed_forward(block)
    inner, probes, levels, latents = back.weight.shape[1], layout.probes, layout.levels, layout.latents
    used = 2 * stride * probes
    for half, bias in ((0, 1.0), (inner, 0.0)):  # the gated half is 1, so that the gate alone remains
        gated.weight[half : half + used] = 0
        gated.bias[half : half + used] = bias
    for unit in range(used):
        probe, negative = divmod(unit, 2)
        gated.weight[inner + unit, latents + probe] = -SHARPNESS if negative else SHARPNESS
        back.weight[latents + stride * probes + probe % levels, unit] = 1 / (SHARPNESS * stride * PROBES)


def _start_decoder(
    same: SAME, out: DecoderResampler, codec: LinearCodec, layout: ChannelLayout, rng: np.random.Generator
) -> Tensor:
    """Set all but the carriers' levels; return the last mapping's kernel (2 * patch, width, KERNEL)."""
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
    inner, begin = back.weight.shape[1], components + levels
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
        back.weight[begin + carrier, carrier] = 1
        # A convolution's first tap hears the token before: it carries the last part of that token's noise.
        parts = tensor(atom.reshape(KERNEL, patch)[::-1])
        kernel[channel * patch : (channel + 1) * patch, begin + carrier] = parts.T
    return kernel


def _soft_threshold(out: DecoderResampler, codec: LinearCodec, layout: ChannelLayout, size: float) -> None:
    """Take most of the components away that are smaller than what a latent of that size makes of them.

    What a generator gets wrong is small and everywhere: where there should be silence or no bass it hisses and rumbles.
    A sine takes that away: x - sin(k pi tanh(4 x)) / (4 k pi) is nearly 0 near 0. Larger components are off by up to
    as much as that takes away.
    """
    block = typed(out.transformers[-1], SAMEBlock)
    gated, back = _feed_forward(block)
    inner, carriers, components = back.weight.shape[1], layout.carriers, layout.components
    slope = float(block.ff_norm.alpha)
    made_by_latents = np.linalg.norm(codec.spread.reshape(layout.latents, -1, components), axis=0).mean(0)
    for component, made in enumerate(made_by_latents):
        cycles = max(1, round(1 / (slope * np.pi * TOKEN_LEVEL * size * made)))
        unit = carriers + component
        gated.weight[[unit, inner + unit]] = 0
        gated.bias[unit], gated.bias[inner + unit] = 1.0, 0.0
        gated.weight[inner + unit, component] = cycles
        back.weight[:, unit] = 0
        back.weight[component, unit] = -1 / (slope * np.pi * cycles)


def _scale_levels(same: SAME, layout: ChannelLayout, crops: Crops) -> None:
    """Give the latents that hold levels zero mean and a moderate size where noise is loud; the decoder undoes it.

    Most sounds have little noise: with unit variance a level would be far larger than all that a rain's components are.
    """
    last, first = (typed(same.get_submodule(name), nn.Linear) for name in ("encoder.layers.2", "decoder.layers.1"))
    levels = slice(layout.latents, None)
    found = torch.cat([same.encode(torch.from_numpy(crop)[None])[0] for crop in crops], dim=1)[levels]
    mean = found.mean(1)
    size = ((found.quantile(LOUDEST, dim=1) - mean) / LOUDEST_SIZE).clamp_min(SMALLEST)
    last.weight[levels] /= size[:, None]
    last.bias[levels] = -mean / size
    first.weight[:, levels] *= size
    first.bias.add_(first.weight[:, levels] @ (mean / size))


def _correct_carriers(
    same: SAME, out: DecoderResampler, kernel: Tensor, codec: LinearCodec, layout: ChannelLayout, crops: Crops
) -> None:
    """Scale carriers until loud noise is as loud as what the components leave out."""
    begin = layout.components + layout.levels
    set_whole_kernel(out.mapping, kernel)
    linear = [_decoded_linearly(codec, crop, same.config.patch_size) for crop in crops]
    wanted = _all_powers(crops, linear, layout.edges)
    loud = wanted > np.quantile(wanted, LOUD, axis=-1, keepdims=True)
    for _ in range(ROUNDS):
        made = [same.decode(same.encode(torch.from_numpy(crop)[None]))[0].numpy() for crop in crops]
        found = _all_powers(made, linear, layout.edges)
        ratio = np.log(wanted + SMALLEST) - np.log(found + SMALLEST)
        for carrier in range(layout.carriers):
            band, channel = divmod(carrier % layout.levels, CHANNELS)
            kernel[:, begin + carrier] *= float(np.exp(np.median(ratio[channel, band][loud[channel, band]]) / 2))
        set_whole_kernel(out.mapping, kernel)


def _decoded_linearly(codec: LinearCodec, crop: NDArray[np.float32], patch: int) -> Matrix:
    """What the components alone bring back of a crop, (2, n)."""
    rows = codec.decode(codec.encode(patch_rows(crop, patch)))
    return rows.reshape(-1, CHANNELS, patch).transpose(1, 0, 2).reshape(CHANNELS, -1)


def _all_powers(sounds: Crops, linear: Sequence[Matrix], edges: tuple[float, ...]) -> Matrix:
    """Power of each band in each window of all sounds less their linear parts, (2, bands, windows)."""
    return np.concatenate([_powers(sound - part, edges) for sound, part in zip(sounds, linear, strict=True)], axis=-1)


def _powers(sound: Matrix, edges: tuple[float, ...]) -> Matrix:
    """Power of each band in each window, (2, bands, windows)."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW, -1)[:, ::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)) ** 2
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    return np.stack([power[..., (hertz >= low) & (hertz < high)].sum(-1) for low, high in pairwise(edges)], 1)


def _band_noise(samples: int, low: float, high: float, rng: np.random.Generator) -> Matrix:
    """Faded noise of a band, of unit norm, (samples,)."""
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    inside = (hertz >= low) & (hertz < high)
    spectrum = inside * np.exp(2j * np.pi * rng.random(len(hertz)))
    sound = np.fft.irfft(spectrum, samples) * np.hanning(samples)
    return np.asarray(sound / np.linalg.norm(sound))
