"""Initialize an autoencoder as a linear codec of principal components."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundloom.datasets.synthetic import SAMPLE_RATE
from soundloom.engines.torch.stable_audio.same import (
    SAME,
    DecoderResampler,
    EncoderResampler,
    Resampler,
    SAMEBlock,
    WeightNormConv,
    to_patches,
)
from soundloom.training.config import AutoencoderConfig
from soundloom.training.data.protocols import SoundSource
from soundloom.training.init.pca import LinearCodec, Matrix, fit_pca
from soundloom.training.loop.rng import RngStream

# Initial RMS of the token stream. The blocks' tanh, of slope 4, saturates for larger values.
TOKEN_LEVEL = 0.3
QUIET = 0.01  # RMS below which a crop has less weight
Module = TypeVar("Module", bound=nn.Module)
PCA_STREAM = 2**32 - 1  # step number of the RNG stream that samples crops for the PCA


def sample_crops(same: SAME, sounds: SoundSource, config: AutoencoderConfig) -> list[NDArray[np.float32]]:
    """Sample crops (2, n) of an integer number of latents, `config.pca_seconds` in total."""
    length = config.frames * same.config.downsampling_ratio
    rng = RngStream(config.loop.seed, PCA_STREAM).rng
    return [sounds.sample_crop(rng, length)[1] for _ in range(round(config.pca_seconds * SAMPLE_RATE / length))]


def fit_linear_codec(
    same: SAME, crops: Iterable[NDArray[np.float32]], config: AutoencoderConfig, width: int = 0, latent_dim: int = 0
) -> LinearCodec:
    """Fit principal components of crops in the geometry of the autoencoder, or with a given width and latent dimension.

    Crops are normalized, so that a few loud ones do not dominate.
    """
    half, patch = same.config.encoder.config, same.config.patch_size
    rows = np.concatenate([patch_rows(crop, patch) / (QUIET + np.std(crop)) for crop in crops])
    sizes = half.stride, width or half.width, latent_dim or half.latent_dim
    return fit_pca(rows, *sizes, config.emphasis, config.whitening, SAMPLE_RATE)


def patch_rows(audio: NDArray[np.float32], patch: int) -> Matrix:
    """Split (2, n) into rows (patches, 2 * patch) in float64."""
    return to_patches(torch.from_numpy(audio)[None], patch)[0].T.double().numpy()


@torch.no_grad()
def init_linear_codec(same: SAME, codec: LinearCodec) -> None:
    """Set the weights so that the autoencoder computes the linear codec exactly, with zero blocks.

    Needs `latent_shortcut` in both halves, and widths of at least the latents' dimension.
    """
    into = typed(same.encoder.layers["0"], EncoderResampler)
    out = typed(same.decoder.layers["3"], DecoderResampler)
    latent_dim = same.config.latent_dim
    for resampler in (into, out):
        zero_branches(resampler)
        resampler.shortcut.weight.zero_()
    square = torch.eye(latent_dim)
    set_center_tap(into.mapping, TOKEN_LEVEL * tensor(codec.analysis))
    into.shortcut.weight[:latent_dim] = tensor(codec.gather)
    set_linear(typed(same.encoder.layers["2"], nn.Linear), (slice(None), slice(latent_dim)), square / TOKEN_LEVEL)
    set_linear(typed(same.decoder.layers["1"], nn.Linear), (slice(latent_dim), slice(None)), square * TOKEN_LEVEL)
    out.shortcut.weight[:, :latent_dim] = tensor(codec.spread.T)
    set_center_tap(out.mapping, tensor(codec.synthesis.T) / TOKEN_LEVEL)


def zero_branches(resampler: Resampler) -> None:
    """Zero the output layer of every branch, as the published initialization does."""
    for block in resampler.transformers:
        branches = typed(block, SAMEBlock)
        for layer in (branches.self_attn.to_out, branches.ff.ff[2]):
            for parameter in layer.parameters():
                parameter.zero_()


def typed(module: nn.Module, kind: type[Module]) -> Module:
    """Return a module with its type, which module lists do not state."""
    assert isinstance(module, kind)
    return module


def set_center_tap(conv: WeightNormConv, weight: Tensor) -> None:
    """Set the center of a convolution's kernel to a matrix (out, in), and the rest to zero."""
    kernel = torch.zeros_like(conv.weight_v)
    kernel[:, :, kernel.shape[2] // 2] = weight
    set_kernel(conv, kernel)


def set_kernel(conv: WeightNormConv, kernel: Tensor) -> None:
    """Set a convolution's kernel (out, in, taps); zero outputs keep their direction, by whose norm it divides."""
    gain = kernel.norm(dim=(1, 2), keepdim=True)
    conv.weight_v.copy_(torch.where(gain > 0, kernel, conv.weight_v))
    conv.weight_g.copy_(gain)
    conv.bias.zero_()


def set_linear(linear: nn.Linear, part: tuple[slice, slice], weight: Tensor) -> None:
    linear.weight.zero_()
    linear.bias.zero_()
    linear.weight[part] = weight


def tensor(matrix: Matrix) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(matrix)).float()
