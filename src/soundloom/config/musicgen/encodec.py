"""EnCodec, the audio codec of MusicGen, as frozen dataclasses. Field names are those of transformers' `config.json`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from soundloom.config.ranges import MAX_WIDTH, SampleRate, Vocabulary, Width, Within, check_ranges
from soundloom.errors import ConfigError, shown

Kernel = Annotated[int, Within(1, 1024)]
Codebooks = Annotated[int, Within(1, 256)]
_MAX_STAGES, _MAX_HOP = 16, 1 << 20  # samples


@dataclass(frozen=True)
class CodecLayer:
    """One layer of the codec. `inner` is the number of channels between the two convolutions of a residual unit."""

    kind: Literal["conv", "transposed", "residual", "lstm", "elu"]
    channels: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    inner: int = 0

    @property
    def overlap(self) -> int:
        """Samples by which consecutive windows of a convolution overlap."""
        return (self.kernel - 1) * self.dilation + 1 - self.stride

    @property
    def margins(self) -> tuple[int, int]:
        """Padding on both sides of a convolution, or trimming after a transposed one."""
        return self.overlap - self.overlap // 2, self.overlap // 2

    def padding(self, samples: int) -> tuple[int, int]:
        """Return the margins, plus padding that completes the last window of a signal of this length."""
        left, right = self.margins
        return left, right + -samples % self.stride

    @property
    def convolutions(self) -> tuple[CodecLayer, CodecLayer]:
        """The two convolutions of a residual unit."""
        first = CodecLayer("conv", self.channels, self.inner, self.kernel, dilation=self.dilation)
        return first, CodecLayer("conv", self.inner, self.out)


@dataclass(frozen=True)
class EncodecConfig:
    """The codec, which encodes audio at `sampling_rate` Hz to `num_quantizers` tokens per frame.

    `hidden_size` is the width of latents, `num_filters` that of the first convolution, which doubles at each ratio.
    `upsampling_ratios` are in the decoder's order.
    """

    sampling_rate: SampleRate = 32000
    audio_channels: Literal[1] = 1
    hidden_size: Width = 128
    num_filters: Width = 64
    upsampling_ratios: tuple[Annotated[int, Within(1, 1024)], ...] = (8, 5, 4, 4)
    num_residual_layers: Annotated[int, Within(0, 64)] = 1
    dilation_growth_rate: Annotated[int, Within(1, 64)] = 2
    kernel_size: Kernel = 7
    residual_kernel_size: Kernel = 3
    last_kernel_size: Kernel = 7
    compress: Width = 2
    num_lstm_layers: Annotated[int, Within(1, 64)] = 2
    codebook_size: Vocabulary = 2048
    num_quantizers: Codebooks = 4
    pad_mode: Literal["constant", "reflect"] = "constant"
    norm_type: Literal["weight_norm"] = "weight_norm"
    use_causal_conv: Literal[False] = False
    use_conv_shortcut: Literal[False] = False
    normalize: Literal[False] = False

    def __post_init__(self) -> None:
        check_ranges(self)
        stages = len(self.upsampling_ratios)
        if not 1 <= stages <= _MAX_STAGES or self.hop > _MAX_HOP or self.deepest > MAX_WIDTH:
            raise ConfigError(
                f"upsampling_ratios {shown(list(self.upsampling_ratios))} must have 1 to {_MAX_STAGES} entries, a "
                f"product of at most {_MAX_HOP}, and widen {self.num_filters} filters to at most {MAX_WIDTH}"
            )
        if self.compress > self.num_filters:
            raise ConfigError(f"compress {self.compress} must be at most num_filters {self.num_filters}")
        if self.dilation_growth_rate ** max(self.num_residual_layers - 1, 0) > _MAX_HOP:
            raise ConfigError(
                f"{self.num_residual_layers} residual layers with a dilation_growth_rate of "
                f"{self.dilation_growth_rate} span more than {_MAX_HOP} samples"
            )

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.upsampling_ratios)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sampling_rate / self.hop

    @property
    def deepest(self) -> int:
        """Channels at the lowest frame rate, in the LSTM."""
        return self.num_filters * 2 ** len(self.upsampling_ratios)

    def frames(self, samples: int) -> int:
        """Return the number of frames for this many samples."""
        return -(-samples // self.hop)

    @property
    def encoder_layers(self) -> tuple[CodecLayer, ...]:
        """The encoder's layers by index; activations count as layers."""
        width = self.num_filters
        layers = [CodecLayer("conv", self.audio_channels, width, self.kernel_size)]
        for ratio in reversed(self.upsampling_ratios):
            layers += [*self._residual_units(width), CodecLayer("elu", width, width)]
            layers.append(CodecLayer("conv", width, 2 * width, 2 * ratio, stride=ratio))
            width *= 2
        layers += [CodecLayer("lstm", width, width), CodecLayer("elu", width, width)]
        return (*layers, CodecLayer("conv", width, self.hidden_size, self.last_kernel_size))

    @property
    def decoder_layers(self) -> tuple[CodecLayer, ...]:
        """The decoder's layers by index."""
        width = self.deepest
        layers = [CodecLayer("conv", self.hidden_size, width, self.kernel_size), CodecLayer("lstm", width, width)]
        for ratio in self.upsampling_ratios:
            layers.append(CodecLayer("elu", width, width))
            layers.append(CodecLayer("transposed", width, width // 2, 2 * ratio, stride=ratio))
            width //= 2
            layers += self._residual_units(width)
        output = CodecLayer("conv", width, self.audio_channels, self.last_kernel_size)
        return (*layers, CodecLayer("elu", width, width), output)

    def _residual_units(self, width: int) -> list[CodecLayer]:
        kernel, inner = self.residual_kernel_size, width // self.compress
        dilations = (self.dilation_growth_rate**unit for unit in range(self.num_residual_layers))
        return [CodecLayer("residual", width, width, kernel, dilation=each, inner=inner) for each in dilations]
