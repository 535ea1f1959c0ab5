"""What an autoencoder begins with: branches that add nothing yet, principal components, levels of noise."""

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

# Root mean square of the token stream at the start. The blocks' tanh, of slope 4, bends what is much above.
TOKEN_LEVEL = 0.3
QUIET = 0.01  # root mean square below which a crop counts less
Module = TypeVar("Module", bound=nn.Module)
PCA_STREAM = 2**32 - 1  # step number whose draws choose the clips that the components are fitted to


def sample_crops(same: SAME, sounds: SoundSource, config: AutoencoderConfig) -> list[NDArray[np.float32]]:
    """Crops (2, n) of whole latents, `config.pca_seconds` together."""
    length = config.frames * same.config.downsampling_ratio
    rng = RngStream(config.loop.seed, PCA_STREAM).rng
    return [sounds.sample_crop(rng, length)[1] for _ in range(round(config.pca_seconds * SAMPLE_RATE / length))]


def fit_linear_codec(
    same: SAME, crops: Iterable[NDArray[np.float32]], config: AutoencoderConfig, width: int = 0, latent_dim: int = 0
) -> LinearCodec:
    """Principal components of crops in the geometry of the autoencoder, or fewer of a patch and of a latent.

    Every crop counts alike: the power of a few loud sounds would leave nothing for all others.
    """
    half, patch = same.config.encoder.config, same.config.patch_size
    rows = np.concatenate([patch_rows(crop, patch) / (QUIET + np.std(crop)) for crop in crops])
    sizes = half.stride, width or half.width, latent_dim or half.latent_dim
    return fit_pca(rows, *sizes, config.emphasis, config.whitening, SAMPLE_RATE)


def patch_rows(audio: NDArray[np.float32], patch: int) -> Matrix:
    """Cut (2, n) into rows (patches, 2 * patch) in float64."""
    return to_patches(torch.from_numpy(audio)[None], patch)[0].T.double().numpy()


@torch.no_grad()
def init_linear_codec(same: SAME, codec: LinearCodec) -> None:
    """Make the autoencoder compute the linear codec exactly: its blocks add nothing yet.

    Needs `latent_shortcut` in both halves, and widths of at least the latents' dimension.
    """
    into = typed(same.encoder.layers["0"], EncoderResampler)
    out = typed(same.decoder.layers["3"], DecoderResampler)
    latent_dim = same.config.latent_dim
    for resampler in (into, out):
        zero_branches(resampler)
        resampler.shortcut.weight.zero_()
    square = torch.eye(latent_dim)
    set_kernel(into.mapping, TOKEN_LEVEL * tensor(codec.analysis))
    into.shortcut.weight[:latent_dim] = tensor(codec.gather)
    set_linear(typed(same.encoder.layers["2"], nn.Linear), (slice(None), slice(latent_dim)), square / TOKEN_LEVEL)
    set_linear(typed(same.decoder.layers["1"], nn.Linear), (slice(latent_dim), slice(None)), square * TOKEN_LEVEL)
    out.shortcut.weight[:, :latent_dim] = tensor(codec.spread.T)
    set_kernel(out.mapping, tensor(codec.synthesis.T) / TOKEN_LEVEL)


def zero_branches(resampler: Resampler) -> None:
    """Zero the last layer of every branch, as the published initialization does."""
    for block in resampler.transformers:
        branches = typed(block, SAMEBlock)
        for layer in (branches.self_attn.to_out, branches.ff.ff[2]):
            for parameter in layer.parameters():
                parameter.zero_()


def typed(module: nn.Module, kind: type[Module]) -> Module:
    """The module, which lists of modules only know as some module."""
    assert isinstance(module, kind)
    return module


def set_kernel(conv: WeightNormConv, weight: Tensor) -> None:
    """Give a convolution this matrix (out, in) as the center of its kernel, and zeros beside it."""
    kernel = torch.zeros_like(conv.weight_v)
    kernel[:, :, kernel.shape[2] // 2] = weight
    set_whole_kernel(conv, kernel)


def set_whole_kernel(conv: WeightNormConv, kernel: Tensor) -> None:
    """Give a convolution a kernel (out, in, taps); outputs of zeros keep their direction, which a norm divides."""
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
