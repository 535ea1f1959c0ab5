"""Configurations of MusicGen and Instruct-MusicGen as frozen dataclasses, shared by both engines.

Field names are those of transformers' `config.json` files; audiocraft uses other names for most. Defaults are the
published values. Derived sizes are properties. Fields that no checkpoint uses are absent, or allow only their published
value. Source: configurations of facebook/musicgen-*, facebook/encodec_32khz, t5-base and ldzhangyx/instruct-MusicGen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, TypeVar

from soundloom.config.musicgen.encodec import Codebooks, EncodecConfig
from soundloom.config.parse import parse
from soundloom.config.ranges import (
    Depth,
    Epsilon,
    Heads,
    TokenId,
    Vocabulary,
    Width,
    Within,
    check_ranges,
)
from soundloom.errors import ConfigError, shown

T = TypeVar("T")


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
                f"pad_token_id {self.pad_token_id} or eos_token_id {self.eos_token_id} exceeds the vocabulary of the "
                f"text encoder, {self.vocab_size} tokens"
            )
        if 4 * self.relative_attention_max_distance <= self.relative_attention_num_buckets:
            raise ConfigError(
                f"relative_attention_max_distance {self.relative_attention_max_distance} must exceed a quarter of the "
                f"{self.relative_attention_num_buckets} buckets"
            )

    @property
    def inner(self) -> int:
        """Width of queries, keys and values over all heads, which may differ from `d_model`."""
        return self.num_heads * self.d_kv


@dataclass(frozen=True)
class LMConfig:
    """The language model over audio tokens. Embedding tables have `vocab_size` entries plus the special token.

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
        """The token at the start and at positions without a valid token; never predicted."""
        return self.vocab_size

    @property
    def delays(self) -> tuple[int, ...]:
        """Delay of each codebook in positions; left and right channels share delays."""
        return tuple(codebook // self.audio_channels for codebook in range(self.num_codebooks))


@dataclass(frozen=True)
class AdapterSizes:
    """Sizes of an adapter. `max_frames` is the longest input; tables have one more row, for the end frame."""

    max_frames: Annotated[int, Within(1, 1 << 20)] = 500
    lora_rank: Width = 32
    lora_alpha: Annotated[int, Within(0, 1 << 20)] = 64

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class InstructConfig(AdapterSizes):
    """The Instruct-MusicGen adapter, which adapts every layer of the language model for editing.

    `window` is the length of its training clips in seconds; `instruments` are those it was trained to add, remove and
    extract.
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
    """A complete model, for editing if it has `instruct`: the `model_config.json` of soundloom's own layout."""

    t5: T5Config = field(default_factory=T5Config)
    encodec: EncodecConfig = field(default_factory=EncodecConfig)
    lm: LMConfig = field(default_factory=LMConfig)
    instruct: InstructConfig | None = None
    model_type: Literal["musicgen"] = "musicgen"

    def __post_init__(self) -> None:
        if self.lm.text_width != self.t5.d_model:
            raise ConfigError(f"the text encoder has width {self.t5.d_model}, the model needs {self.lm.text_width}")
        codebooks = self.encodec.num_quantizers * self.lm.audio_channels
        if (self.lm.num_codebooks, self.lm.vocab_size) != (codebooks, self.encodec.codebook_size):
            raise ConfigError(
                f"the codec has {codebooks} codebooks of {self.encodec.codebook_size} tokens, "
                f"the language model {self.lm.num_codebooks} of {self.lm.vocab_size}"
            )
        if self.instruct is not None and self.lm.audio_channels != 1:
            raise ConfigError("the instruct adapter supports only mono models, this one is stereo")

    @property
    def sample_rate(self) -> int:
        return self.encodec.sampling_rate

    @property
    def frame_rate(self) -> float:
        return self.encodec.frame_rate

    @property
    def max_seconds(self) -> float:
        """Longest audio of one pass: the size of the adapter's tables, or MusicGen's training length."""
        return self.instruct.max_frames / self.frame_rate if self.instruct else 30.0

    @property
    def default_top_k(self) -> int:
        """The top-k of the published code."""
        return 100 if self.instruct else 250


# Layers, width and heads of the published sizes.
_SIZES = {"small": (24, 1024, 16), "medium": (48, 1536, 24), "large": (48, 2048, 32)}
_STEREO_CODEBOOKS = 8


def published_musicgen(size: str, *, stereo: bool = False, instruct: bool = False) -> MusicGenConfig:
    """Return a published configuration: small, medium or large. The published adapter belongs to large."""
    layers, width, heads = _SIZES[size]
    channels = {"num_codebooks": _STEREO_CODEBOOKS, "audio_channels": 2} if stereo else {}
    lm = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "ffn_dim": 4 * width}
    return MusicGenConfig(lm=parse(LMConfig, lm | channels), instruct=InstructConfig() if instruct else None)


# Configurations of transformers have many unrelated fields. They are ignored, except those that change the computation.


def parse_composite_config(data: Mapping[str, Any]) -> MusicGenConfig:
    """Parse a MusicGen `config.json` of transformers. Raises ConfigError."""
    _require(data, "the model", model_type="musicgen")
    text, codec, decoder = (_section(data, part) for part in ("text_encoder", "audio_encoder", "decoder"))
    t5 = parse_t5_config(text)
    _require(decoder, "the language model", activation_function="gelu", scale_embedding=False)
    lm = parse(LMConfig, {"text_width": t5.d_model, **_known(LMConfig, decoder)}, "decoder")
    encodec = parse_encodec_config({"num_quantizers": lm.num_codebooks // lm.audio_channels, **codec})
    return MusicGenConfig(t5, encodec, lm)


def parse_t5_config(data: Mapping[str, Any]) -> T5Config:
    """Parse the encoder's fields of a T5 `config.json`. Raises ConfigError."""
    _require(data, "the text encoder", feed_forward_proj="relu")
    return parse(T5Config, _known(T5Config, data), "text_encoder")


def parse_encodec_config(data: Mapping[str, Any]) -> EncodecConfig:
    """Parse an EnCodec `config.json`. Raises ConfigError."""
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
            raise ConfigError(f"{what} has {name} {shown(data[name])}, only {value!r} is supported")
