"""Training of a SAME autoencoder that starts as the linear codec of principal components."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundloom.engines.torch.same import (
    SAME,
    DecoderResampler,
    EncoderResampler,
    Resampler,
    SAMEBlock,
    WeightNormConv,
    to_patches,
)
from soundloom.training.config import AutoencoderConfig
from soundloom.training.loop import Draws
from soundloom.training.losses import SpectralLoss, softnorm_loss, waveform_loss
from soundloom.training.pca import LinearCodec, Matrix, fit
from soundloom.training.sounds import Sounds

# Root mean square of the token stream at the start. The blocks' tanh, of slope 4, bends what is much above.
TOKEN_LEVEL = 0.3
Module = TypeVar("Module", bound=nn.Module)
PCA_STREAM = 2**32 - 1  # step number whose draws choose the clips that the components are fitted to


class AutoencoderStage:
    """Random crops through encoder, noise and decoder, against waveform and spectra."""

    def __init__(self, same: SAME, sounds: Sounds, config: AutoencoderConfig) -> None:
        self.module, self.sounds, self.config = same, sounds, config
        self.spectral = SpectralLoss(config.spectral)
        self.samples = config.frames * same.config.downsampling_ratio

    def losses(self, step: int, draws: Draws) -> dict[str, Tensor]:
        """Reconstruct one batch of crops."""
        same: SAME = self.module
        crops = np.stack([self.sounds.crop(draws.rng, self.samples) for _ in range(self.config.batch)])
        real = torch.from_numpy(crops)
        latents = same.encode(real)
        noise = draws.normal(*latents.shape) * self.config.latent_noise
        made = same.decode(latents + noise)
        losses = {
            "waveform": waveform_loss(made, real),
            "spectral": self.spectral(made, real),
            "softnorm": softnorm_loss(latents),
        }
        total = self.config.waveform * losses["waveform"] + losses["spectral"]
        return {"loss": total + self.config.softnorm * losses["softnorm"]} | losses


def fit_linear_codec(same: SAME, sounds: Sounds, config: AutoencoderConfig) -> LinearCodec:
    """Principal components of random crops, in the geometry of the autoencoder."""
    half, patch = same.config.encoder.config, same.config.patch_size
    length = config.frames * same.config.downsampling_ratio
    rate = sounds.world.sample(0).sample_rate
    rng = Draws(config.loop.seed, PCA_STREAM).rng
    crops = (sounds.crop(rng, length) for _ in range(round(config.pca_seconds * rate / length)))
    batches = (patch_rows(crop, patch) for crop in crops)
    return fit(batches, half.stride, half.width, half.latent_dim, config.emphasis, config.whitening, rate)


def patch_rows(audio: NDArray[np.float32], patch: int) -> Matrix:
    """Cut (2, n) into rows (patches, 2 * patch) in float64."""
    return to_patches(torch.from_numpy(audio)[None], patch)[0].T.double().numpy()


@torch.no_grad()
def start_from(same: SAME, codec: LinearCodec) -> None:
    """Make the autoencoder compute the linear codec exactly: its blocks add nothing yet.

    Needs `latent_shortcut` in both halves, and widths of at least the latents' dimension.
    """
    into = _typed(same.encoder.layers["0"], EncoderResampler)
    out = _typed(same.decoder.layers["3"], DecoderResampler)
    latent_dim = same.config.latent_dim
    for resampler in (into, out):
        silence_branches(resampler)
        resampler.shortcut.weight.zero_()
    square = torch.eye(latent_dim)
    _set_kernel(into.mapping, TOKEN_LEVEL * _tensor(codec.analysis))
    into.shortcut.weight[:latent_dim] = _tensor(codec.gather)
    _set_linear(_typed(same.encoder.layers["2"], nn.Linear), (slice(None), slice(latent_dim)), square / TOKEN_LEVEL)
    _set_linear(_typed(same.decoder.layers["1"], nn.Linear), (slice(latent_dim), slice(None)), square * TOKEN_LEVEL)
    out.shortcut.weight[:, :latent_dim] = _tensor(codec.spread.T)
    _set_kernel(out.mapping, _tensor(codec.synthesis.T) / TOKEN_LEVEL)


def silence_branches(resampler: Resampler) -> None:
    """Zero the last layer of every branch, as the published initialisation does."""
    for block in resampler.transformers:
        branches = _typed(block, SAMEBlock)
        for layer in (branches.self_attn.to_out, branches.ff.ff[2]):
            for parameter in layer.parameters():
                parameter.zero_()


def _typed(module: nn.Module, kind: type[Module]) -> Module:
    """The module, which lists of modules only know as some module."""
    assert isinstance(module, kind)
    return module


def _set_kernel(conv: WeightNormConv, weight: Tensor) -> None:
    """Give a convolution this matrix (out, in) as the centre of its kernel, and zeros beside it."""
    conv.weight_v.zero_()
    conv.weight_v[:, :, conv.weight_v.shape[2] // 2] = weight
    conv.weight_g.copy_(conv.weight_v.norm(dim=(1, 2), keepdim=True))
    conv.bias.zero_()


def _set_linear(linear: nn.Linear, part: tuple[slice, slice], weight: Tensor) -> None:
    linear.weight.zero_()
    linear.bias.zero_()
    linear.weight[part] = weight


def _tensor(matrix: Matrix) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(matrix)).float()


@torch.no_grad()
def settle_scale(same: SAME, sounds: Sounds, clips: int) -> None:
    """Set the bottleneck so that latents of the first clips have unit variance over all channels together."""
    first = islice(encoded(same, sounds), clips)
    same.bottleneck.running_std.mul_(torch.cat([latents for latents, _ in first]).std())


@torch.no_grad()
def encoded(same: SAME, sounds: Sounds) -> Iterator[tuple[Tensor, float]]:
    """Latents (frames, c) and seconds of every clip in order, without the frames that only hold padding."""
    same.eval()
    for position in range(len(sounds)):
        clip = sounds.clip(position)
        samples = clip.audio.shape[1]
        frames = -(-samples // same.config.downsampling_ratio)
        yield same.encode(torch.from_numpy(clip.audio)[None])[0, :, :frames].T, samples / clip.sample_rate
