"""The SAME autoencoder's section of a `model_config.json` as frozen dataclasses; see `model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from soundloom.config.ranges import (
    MAX_DEPTH,
    MAX_WIDTH,
    Channels,
    Chunk,
    Depth,
    LatentWindow,
    Patch,
    Stride,
    Width,
    WidthRatio,
    Within,
    check_ranges,
)
from soundloom.errors import ConfigError, shown


@dataclass(frozen=True)
class ResamplerConfig:
    """The encoder or decoder of a SAME autoencoder: a transformer that maps `stride` patches to one latent, or back.

    `in_channels` belongs to the encoder, `out_channels` to the decoder. `latent_shortcut`, which no published model
    uses, adds a linear path from the patches of a latent to its token; training small autoencoders from scratch stalls
    without it.
    """

    channels: Width
    c_mults: tuple[Width, ...]
    strides: tuple[Stride, ...]
    latent_dim: Width
    transformer_depths: tuple[Depth, ...]
    in_channels: Annotated[int, Within(0, 1 << 20)] = 0
    out_channels: Annotated[int, Within(0, 1 << 20)] = 0
    dim_heads: Width = 128
    ff_mult: WidthRatio = 3
    chunk_size: Chunk = 128
    chunk_midpoint_shift: bool = False
    sliding_window: tuple[LatentWindow, ...] | None = None
    sinusoidal_blocks: tuple[Annotated[int, Within(0, MAX_DEPTH + 1)], ...] = (0,)
    mask_noise: Annotated[float, Within(0, 100)] = 0.0
    conv_mapping: bool = False
    latent_shortcut: bool = False
    differential: Literal[True] = True
    variable_stride: Literal[True] = True
    dyt: Literal[True] = True
    checkpointing: bool = False
    freeze_backbone: bool = False
    conformer: Literal[False] = False
    layer_scale: Literal[False] = False
    causal: Literal[False] = False
    feat_scale: Literal[False] = False
    cross_attn: Literal[False] = False

    def __post_init__(self) -> None:
        check_ranges(self)
        stages = {len(each) for each in (self.c_mults, self.strides, self.transformer_depths, self.sinusoidal_blocks)}
        if stages != {1}:
            raise ConfigError(
                "c_mults, strides, transformer_depths and sinusoidal_blocks must have length 1: SAME has one stage"
            )
        if self.width > MAX_WIDTH or self.width % self.dim_heads:
            raise ConfigError(
                f"the width {self.width} ({self.channels} channels times {self.c_mults[0]}) must be at most "
                f"{MAX_WIDTH} and a multiple of dim_heads {self.dim_heads}"
            )
        if not self.patch_channels:
            raise ConfigError("an encoder needs in_channels, a decoder needs out_channels; found neither")
        if self.sliding_window is None and (self.chunk_size % (2 * self.stride) or not self.chunk_midpoint_shift):
            raise ConfigError(
                f"without sliding_window, chunk_size must be an even multiple of the stride {self.stride} "
                f"and chunk_midpoint_shift true, found {self.chunk_size} and {self.chunk_midpoint_shift}"
            )
        if self.sliding_window is not None and (
            len(self.sliding_window) != 2 or self.sliding_window[0] != self.sliding_window[1]
        ):
            raise ConfigError(
                f"sliding_window must be two equal numbers of latents, found {shown(list(self.sliding_window))}"
            )

    @property
    def width(self) -> int:
        return self.channels * self.c_mults[0]

    @property
    def stride(self) -> int:
        return self.strides[0]

    @property
    def depth(self) -> int:
        return self.transformer_depths[0]

    @property
    def heads(self) -> int:
        return self.width // self.dim_heads

    @property
    def ff_inner(self) -> int:
        return int(self.width * self.ff_mult)

    @property
    def group(self) -> int:
        """Tokens per latent: its patches and the latent token."""
        return self.stride + 1

    @property
    def latents_per_chunk(self) -> int:
        """Latents per attention chunk; 1 with a sliding window, which has no chunks."""
        return 1 if self.sliding_window is not None else self.chunk_size // self.stride

    @property
    def patch_channels(self) -> int:
        return self.in_channels or self.out_channels

    def is_sinusoidal(self, block: int) -> bool:
        # As in the published code, n sinusoidal blocks mean n - 1.
        return self.depth - block < self.sinusoidal_blocks[0]

    @property
    def reach(self) -> int:
        """The receptive field of a latent: latents on each side, rounded up to complete chunks."""
        if self.sliding_window is not None:
            return self.depth * self.sliding_window[0] + 1  # one more for the kernel of the output mapping
        return 2 * self.latents_per_chunk


@dataclass(frozen=True)
class EncoderBlock:
    """The `encoder` section of an autoencoder."""

    config: ResamplerConfig
    type: Literal["taae_v2", "same"] = "taae_v2"
    requires_grad: bool = True


@dataclass(frozen=True)
class DecoderBlock:
    """The `decoder` section of an autoencoder."""

    config: ResamplerConfig
    type: Literal["taae_v2", "same"] = "taae_v2"
    requires_grad: bool = True
    soft_clip: Literal[False] = False


@dataclass(frozen=True)
class SoftNormConfig:
    """Options of the bottleneck."""

    dim: Width
    auto_scale: bool = True
    freeze: bool = False
    noise_augment_dim: Literal[0] = 0
    noise_regularize: bool = True

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class BottleneckBlock:
    """The `bottleneck` section of an autoencoder."""

    config: SoftNormConfig
    type: Literal["softnorm"] = "softnorm"


@dataclass(frozen=True)
class PatchConfig:
    """Number of samples per channel in one patch."""

    patch_size: Patch
    channels: Channels = 2

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class PatchBlock:
    """The inner `pretransform` section of an autoencoder."""

    config: PatchConfig
    type: Literal["patched"] = "patched"


@dataclass(frozen=True)
class SAMEConfig:
    """A SAME autoencoder: stereo audio to latents and back."""

    encoder: EncoderBlock
    decoder: DecoderBlock
    bottleneck: BottleneckBlock
    pretransform: PatchBlock
    latent_dim: Width
    downsampling_ratio: Annotated[int, Within(1, 1 << 36)]
    io_channels: Channels = 2
    in_channels: Channels | None = None
    out_channels: Channels | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        patch = self.pretransform.config
        if patch.channels != self.io_channels:
            raise ConfigError(f"io_channels {self.io_channels} must equal the {patch.channels} channels of a patch")
        for name, half in (("encoder", self.encoder.config), ("decoder", self.decoder.config)):
            if half.stride * patch.patch_size != self.downsampling_ratio:
                raise ConfigError(
                    f"downsampling_ratio {self.downsampling_ratio} must equal the {name}'s stride {half.stride} "
                    f"times the patch size {patch.patch_size}"
                )
            if half.patch_channels != patch.patch_size * patch.channels:
                raise ConfigError(
                    f"the {name} has {half.patch_channels} patch channels instead of {patch.channels} channels times "
                    f"{patch.patch_size} samples, {patch.patch_size * patch.channels}"
                )
            if half.latent_dim != self.latent_dim:
                raise ConfigError(f"the {name}'s latent_dim {half.latent_dim} must equal {self.latent_dim}")

    @property
    def patch_size(self) -> int:
        return self.pretransform.config.patch_size
