"""MusicGen and Instruct-MusicGen as frozen dataclasses, shared by both engines.

Field names are those of the transformers `config.json` files, which hold every size; audiocraft's own files name most
of them otherwise. Defaults are the published values. Derived sizes are properties. A field that exists in the published
code but that no checkpoint uses is either absent here or may only hold its one published value.
Source: configurations of facebook/musicgen-*, facebook/encodec_32khz, t5-base and ldzhangyx/instruct-MusicGen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, TypeVar

from soundloom.config.parse import parse
from soundloom.config.ranges import (
    WIDEST,
    Depth,
    Epsilon,
    Heads,
    Rate,
    TokenId,
    Vocabulary,
    Width,
    Within,
    check_ranges,
)
from soundloom.errors import ConfigError, shown

T = TypeVar("T")
Kernel = Annotated[int, Within(1, 1024)]
Codebooks = Annotated[int, Within(1, 256)]
_MOST_STAGES, _LONGEST_HOP = 16, 1 << 20  # samples


@dataclass(frozen=True)
class T5Config:
    """The text encoder: the encoder stack of T5."""

    vocab_size: Vocabulary = 32128
    d_model: Width = 768
    d_kv: Width = 64
    d_ff: Width = 3072
    num_layers: Depth = 12
    num_heads: Heads = 12
    relative_attention_num_buckets: Annotated[int, Within(4, 4096)] = 32
    relative_attention_max_distance: Annotated[int, Within(2, 1 << 20)] = 128
    layer_norm_epsilon: Epsilon = 1e-6
    pad_token_id: TokenId = 0
    eos_token_id: TokenId = 1

    def __post_init__(self) -> None:
        check_ranges(self)
        if max(self.pad_token_id, self.eos_token_id) >= self.vocab_size:
            raise ConfigError(
                f"pad_token_id {self.pad_token_id} or eos_token_id {self.eos_token_id} is beyond the "
                f"{self.vocab_size} tokens of the text encoder"
            )
        if 4 * self.relative_attention_max_distance <= self.relative_attention_num_buckets:
            raise ConfigError(
                f"relative_attention_max_distance {self.relative_attention_max_distance} must be above a quarter of "
                f"the {self.relative_attention_num_buckets} buckets"
            )

    @property
    def inner(self) -> int:
        """Width of queries, keys and values together; not always that of the stream."""
        return self.num_heads * self.d_kv


@dataclass(frozen=True)
class CodecLayer:
    """One entry of the codec's layer lists. A residual unit names the channels between its two convolutions `inner`."""

    kind: Literal["conv", "transposed", "residual", "lstm", "elu"]
    channels: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    inner: int = 0

    @property
    def overlap(self) -> int:
        """Samples that one window of a convolution shares with the next."""
        return (self.kernel - 1) * self.dilation + 1 - self.stride

    @property
    def margins(self) -> tuple[int, int]:
        """What a convolution adds on both sides of a signal, and a transposed one takes away."""
        return self.overlap - self.overlap // 2, self.overlap // 2

    def padding(self, samples: int) -> tuple[int, int]:
        """The margins for a signal of that length, with what fills its last window."""
        left, right = self.margins
        return left, right + -samples % self.stride

    @property
    def convolutions(self) -> tuple[CodecLayer, CodecLayer]:
        """The two of a residual unit."""
        first = CodecLayer("conv", self.channels, self.inner, self.kernel, dilation=self.dilation)
        return first, CodecLayer("conv", self.inner, self.out)


@dataclass(frozen=True)
class EncodecConfig:
    """The codec: audio at `sampling_rate` Hz to `num_quantizers` codes per frame, and back.

    `hidden_size` is the width of latents, `num_filters` that of the first convolution, which doubles at each ratio.
    `upsampling_ratios` are in the decoder's order. `pad_mode` says what a convolution sees beyond the ends.
    """

    sampling_rate: Rate = 32000
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
        if not 1 <= stages <= _MOST_STAGES or self.hop > _LONGEST_HOP or self.deepest > WIDEST:
            raise ConfigError(
                f"upsampling_ratios {shown(list(self.upsampling_ratios))} must be 1 to {_MOST_STAGES}, of at most "
                f"{_LONGEST_HOP} samples together, and widen {self.num_filters} filters to at most {WIDEST}"
            )
        if self.compress > self.num_filters:
            raise ConfigError(f"compress {self.compress} leaves nothing of {self.num_filters} filters")
        if self.dilation_growth_rate ** max(self.num_residual_layers - 1, 0) > _LONGEST_HOP:
            raise ConfigError(
                f"{self.num_residual_layers} residual layers with a dilation_growth_rate of "
                f"{self.dilation_growth_rate} reach beyond {_LONGEST_HOP} samples"
            )

    @property
    def hop(self) -> int:
        """Samples of one frame."""
        return math.prod(self.upsampling_ratios)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sampling_rate / self.hop

    @property
    def deepest(self) -> int:
        """Channels where the signal is slowest, which are those of the LSTM."""
        return self.num_filters * 2 ** len(self.upsampling_ratios)

    def frames(self, samples: int) -> int:
        """Return how many frames hold that many samples."""
        return -(-samples // self.hop)

    @property
    def encoder_layers(self) -> tuple[CodecLayer, ...]:
        """The encoder's layers in the order of their numbers; activations are numbered too."""
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
        """The decoder's layers in the order of their numbers."""
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


@dataclass(frozen=True)
class LMConfig:
    """The language model over codes. `vocab_size` is a codebook's; the tables have one entry more, the special token.

    Stereo models (`audio_channels` 2) interleave the codebooks of left and right.
    """

    hidden_size: Width = 2048
    num_hidden_layers: Depth = 48
    num_attention_heads: Heads = 32
    ffn_dim: Width = 8192
    num_codebooks: Codebooks = 4
    vocab_size: Vocabulary = 2048
    text_width: Width = 768
    audio_channels: Literal[1, 2] = 1
    norm_eps: Epsilon = 1e-5

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(f"hidden_size {self.hidden_size} does not divide into {self.num_attention_heads} heads")
        if self.num_codebooks % self.audio_channels:
            raise ConfigError(f"{self.num_codebooks} codebooks do not divide into {self.audio_channels} channels")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def special_token(self) -> int:
        """What stands at the start and wherever no code is valid; never predicted."""
        return self.vocab_size

    @property
    def delays(self) -> tuple[int, ...]:
        """Positions by which each codebook is late; left and right share theirs."""
        return tuple(codebook // self.audio_channels for codebook in range(self.num_codebooks))


@dataclass(frozen=True)
class AdapterSizes:
    """What an adapter's weights are shaped by.

    `max_frames` is the longest input; its tables have one row more, for the frame that ends it.
    """

    max_frames: Annotated[int, Within(1, 1 << 20)] = 500
    lora_rank: Width = 32
    lora_alpha: Annotated[int, Within(0, 1 << 20)] = 64

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class InstructConfig(AdapterSizes):
    """The adapter that turns a MusicGen model into an editor. It adapts every layer of the language model.

    `window` is the length of the clips that it was trained on, in seconds, `instruments` what it was trained to add,
    remove and extract.
    """

    window: Annotated[float, Within(0.01, 3600)] = 5.0
    instruments: tuple[str, ...] = ("Drums", "Bass", "Piano", "Guitar")

    @property
    def rows(self) -> int:
        return self.max_frames + 1

    @property
    def lora_scaling(self) -> float:
        return self.lora_alpha / self.lora_rank


@dataclass(frozen=True)
class MusicGenConfig:
    """A whole model, with `instruct` an editor: the `model_config.json` of soundloom's own layout."""

    t5: T5Config = field(default_factory=T5Config)
    encodec: EncodecConfig = field(default_factory=EncodecConfig)
    lm: LMConfig = field(default_factory=LMConfig)
    instruct: InstructConfig | None = None
    model_type: Literal["musicgen"] = "musicgen"

    def __post_init__(self) -> None:
        if self.lm.text_width != self.t5.d_model:
            raise ConfigError(f"the text encoder is {self.t5.d_model} wide, the model takes {self.lm.text_width}")
        codebooks = self.encodec.num_quantizers * self.lm.audio_channels
        if (self.lm.num_codebooks, self.lm.vocab_size) != (codebooks, self.encodec.codebook_size):
            raise ConfigError(
                f"the codec has {codebooks} codebooks of {self.encodec.codebook_size} codes, "
                f"the language model {self.lm.num_codebooks} of {self.lm.vocab_size}"
            )
        if self.instruct is not None and self.lm.audio_channels != 1:
            raise ConfigError("the instruct adapter is for mono models, this one is stereo")

    @property
    def sample_rate(self) -> int:
        return self.encodec.sampling_rate

    @property
    def frame_rate(self) -> float:
        return self.encodec.frame_rate

    @property
    def max_seconds(self) -> float:
        """Longest sound that is made in one pass: the adapter's tables, or what MusicGen was trained on."""
        return self.instruct.max_frames / self.frame_rate if self.instruct else 30.0

    @property
    def default_top_k(self) -> int:
        """How many tokens the published code samples from."""
        return 100 if self.instruct else 250


# Layers, width and heads of the published sizes; the feed-forward layers are four times as wide.
_SIZES = {"small": (24, 1024, 16), "medium": (48, 1536, 24), "large": (48, 2048, 32)}
_STEREO_CODEBOOKS = 8


def published_musicgen(size: str, *, stereo: bool = False, instruct: bool = False) -> MusicGenConfig:
    """Return the configuration of a published model: small, medium or large. The published adapter is for large."""
    layers, width, heads = _SIZES[size]
    channels = {"num_codebooks": _STEREO_CODEBOOKS, "audio_channels": 2} if stereo else {}
    lm = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "ffn_dim": 4 * width}
    return MusicGenConfig(lm=parse(LMConfig, lm | channels), instruct=InstructConfig() if instruct else None)


# From the files of transformers. They hold dozens of fields of their own ecosystem, so those that are not ours are
# passed over, except the ones that would change the arithmetic.


def parse_composite_config(data: Mapping[str, Any]) -> MusicGenConfig:
    """Take a MusicGen `config.json` of transformers apart. Raises ConfigError."""
    _require(data, "the model", model_type="musicgen")
    text, codec, decoder = (_section(data, part) for part in ("text_encoder", "audio_encoder", "decoder"))
    t5 = parse_t5_config(text)
    _require(decoder, "the language model", activation_function="gelu", scale_embedding=False)
    lm = parse(LMConfig, {"text_width": t5.d_model, **_known(LMConfig, decoder)}, "decoder")
    encodec = parse_encodec_config({"num_quantizers": lm.num_codebooks // lm.audio_channels, **codec})
    return MusicGenConfig(t5, encodec, lm)


def parse_t5_config(data: Mapping[str, Any]) -> T5Config:
    """Take the encoder's fields from a T5 `config.json`. Raises ConfigError."""
    _require(data, "the text encoder", feed_forward_proj="relu")
    return parse(T5Config, _known(T5Config, data), "text_encoder")


def parse_encodec_config(data: Mapping[str, Any]) -> EncodecConfig:
    """Take the codec's fields from an EnCodec `config.json`. Raises ConfigError."""
    return parse(EncodecConfig, _known(EncodecConfig, data), "audio_encoder")


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = data.get(name, {})
    if not isinstance(section, Mapping):
        raise ConfigError(f"{name} must be an object, found {type(section).__name__}")
    return section


def _known(cls: type[T], data: Mapping[str, Any]) -> dict[str, Any]:
    return {item.name: data[item.name] for item in fields(cls) if item.name in data}  # type: ignore[arg-type]


def _require(data: Mapping[str, Any], what: str, **wanted: Any) -> None:
    for name, value in wanted.items():
        if data.get(name, value) != value:
            raise ConfigError(f"{what} has {name} {shown(data[name])}, only {value!r} is known")
