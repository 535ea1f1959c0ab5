"""The published `model_config.json` as frozen dataclasses, shared by both engines.

Field names are the file's own. Derived sizes are properties. A field that exists in the published code but that no
checkpoint uses is either absent here (then naming it is an error) or may only hold its one published value.
Source: configurations of the Stable Audio 3 repositories; defaults are those of the stable-audio-3 package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from soundloom.config.parse import parse
from soundloom.config.same import SAMEConfig
from soundloom.errors import ConfigError, shown

# In the section `training`, for models of limited training:
CLIP_SECONDS, SUBJECT_WORDS = "clip_seconds", "subject_words"


@dataclass(frozen=True)
class ShiftConfig:
    """A distribution shift of time steps (`diffusion.schedules` has the formulas). Lengths are latent frames."""

    type: Literal["none", "flux", "full", "logsnr"] = "full"
    min_length: float = 256
    max_length: float = 4096
    alpha_min: float = 1.0
    alpha_max: float = 1.0
    base_shift: float = 0.5
    max_shift: float = 1.15
    use_sine: bool = False
    anchor_length: float = 2000
    anchor_logsnr: float = -6.2
    rate: float = 1.0
    logsnr_end: float = 2.0


# What the published inference code uses when a configuration names no sampling shift, as none does.
DEFAULT_SAMPLING_SHIFT = ShiftConfig(type="logsnr", rate=0.0)


@dataclass(frozen=True)
class AttentionConfig:
    """Options of the transformer's attention."""

    qk_norm: Literal["rms"] = "rms"
    differential: bool = False


@dataclass(frozen=True)
class FeedForwardConfig:
    """Options of the transformer's gated feed-forward layers."""

    mult: float = 4.0


@dataclass(frozen=True)
class NormConfig:
    """Options of the transformer's block norms."""

    force_fp32: bool = True


@dataclass(frozen=True)
class DiTConfig:
    """The diffusion transformer (`model.diffusion.config`)."""

    io_channels: int
    embed_dim: int
    depth: int
    num_heads: int
    cond_token_dim: int
    global_cond_dim: int
    local_add_cond_dim: int
    num_memory_tokens: int = 0
    project_cond_tokens: Literal[True] = True
    project_global_cond: Literal[True] = True
    patch_size: Literal[1] = 1
    transformer_type: Literal["continuous_transformer"] = "continuous_transformer"
    global_cond_type: Literal["adaLN"] = "adaLN"
    norm_type: Literal["rms_norm"] = "rms_norm"
    norm_kwargs: NormConfig = field(default_factory=NormConfig)
    attn_kwargs: AttentionConfig = field(default_factory=AttentionConfig)
    ff_kwargs: FeedForwardConfig = field(default_factory=FeedForwardConfig)
    timestep_features_type: Literal["expo"] = "expo"
    timestep_features_dim: int = 256
    timestep_features_logsnr: Literal[False] = False

    def __post_init__(self) -> None:
        if self.embed_dim % self.num_heads:
            raise ConfigError(f"embed_dim {self.embed_dim} does not divide into {self.num_heads} heads")

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def ff_inner(self) -> int:
        return int(self.embed_dim * self.ff_kwargs.mult)

    @property
    def differential(self) -> bool:
        return self.attn_kwargs.differential


@dataclass(frozen=True)
class DiffusionConfig:
    """What surrounds the transformer (`model.diffusion`)."""

    config: DiTConfig
    cross_attention_cond_ids: tuple[str, ...] = ("prompt", "seconds_total")
    global_cond_ids: tuple[str, ...] = ("seconds_total",)
    local_add_cond_ids: tuple[str, ...] = ("inpaint_mask", "inpaint_masked_input")
    input_concat_ids: tuple[str, ...] = ()
    prepend_cond_ids: tuple[str, ...] = ()
    modular_local_cond_configs: tuple[Any, ...] = ()
    type: Literal["dit"] = "dit"
    diffusion_objective: Literal["rf_denoiser", "rectified_flow"] = "rectified_flow"
    mask_padding_attention: bool = False
    use_effective_length_for_schedule: bool = False
    distribution_shift_options: ShiftConfig | None = None
    sampling_distribution_shift_options: ShiftConfig | None = None

    def __post_init__(self) -> None:
        wanted = {
            "cross_attention_cond_ids": ("prompt", "seconds_total"),
            "global_cond_ids": ("seconds_total",),
            "local_add_cond_ids": ("inpaint_mask", "inpaint_masked_input"),
            "input_concat_ids": (),
            "prepend_cond_ids": (),
            "modular_local_cond_configs": (),
        }
        for name, value in wanted.items():
            if getattr(self, name) != value:
                raise ConfigError(f"model.diffusion.{name} must be {list(value)}, found {list(getattr(self, name))}")

    @property
    def sampling_shift(self) -> ShiftConfig:
        return self.sampling_distribution_shift_options or DEFAULT_SAMPLING_SHIFT


@dataclass(frozen=True)
class PromptConfig:
    """The text conditioner; `repo_id` and `subfolder` say where its T5Gemma encoder lives."""

    max_length: int = 256
    padding_mode: Literal["learned", "zero", "none"] = "learned"
    repo_id: str = ""
    subfolder: str = ""
    model_name: str = ""


@dataclass(frozen=True)
class NumberConfig:
    """The conditioner of `seconds_total`."""

    min_val: float = 0
    max_val: float = 384
    fourier_features_type: Literal["expo"] = "expo"


@dataclass(frozen=True)
class ConditionerConfig:
    """One entry of `model.conditioning.configs`."""

    id: str
    type: Literal["t5gemma", "number"]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class ConditioningConfig:
    """All conditioners (`model.conditioning`): a prompt and a number of seconds."""

    cond_dim: int
    configs: tuple[ConditionerConfig, ...]

    def __post_init__(self) -> None:
        found = [(conditioner.id, conditioner.type) for conditioner in self.configs]
        if found != [("prompt", "t5gemma"), ("seconds_total", "number")]:
            raise ConfigError(
                f"model.conditioning.configs must be a t5gemma 'prompt' and a number 'seconds_total', found {found}"
            )
        # Parsed here so that a bad field is reported when the file is read.
        _ = self.prompt, self.seconds_total

    @property
    def prompt(self) -> PromptConfig:
        return parse(PromptConfig, self.configs[0].config, "model.conditioning.configs[0].config")

    @property
    def seconds_total(self) -> NumberConfig:
        return parse(NumberConfig, self.configs[1].config, "model.conditioning.configs[1].config")


@dataclass(frozen=True)
class PretransformConfig:
    """`model.pretransform`: the autoencoder inside a generative model. Nothing reads `scale`, here or upstream."""

    config: SAMEConfig
    type: Literal["autoencoder"] = "autoencoder"
    chunked: bool = False
    iterate_batch: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class GeneratorConfig:
    """`model` of a generative configuration."""

    pretransform: PretransformConfig
    conditioning: ConditioningConfig
    diffusion: DiffusionConfig
    io_channels: int

    def __post_init__(self) -> None:
        latent_dim, dit = self.pretransform.config.latent_dim, self.diffusion.config
        if not self.io_channels == latent_dim == dit.io_channels == dit.local_add_cond_dim - 1:
            raise ConfigError(
                f"io_channels {self.io_channels}, the autoencoder's latent_dim {latent_dim}, the transformer's "
                f"io_channels {dit.io_channels} and its local_add_cond_dim {dit.local_add_cond_dim} - 1 must be equal"
            )


@dataclass(frozen=True)
class ModelConfig:
    """A generative `model_config.json`."""

    model_type: Literal["diffusion_cond_inpaint"]
    sample_size: int
    sample_rate: int
    model: GeneratorConfig
    audio_channels: int = 2
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dit(self) -> DiTConfig:
        return self.model.diffusion.config

    @property
    def same(self) -> SAMEConfig:
        return self.model.pretransform.config

    @property
    def is_distilled(self) -> bool:
        """Whether the checkpoint was post-trained to sample in few steps without guidance."""
        return self.model.diffusion.diffusion_objective == "rf_denoiser"

    def __post_init__(self) -> None:
        # Parsed here so that a bad field is reported when the file is read.
        _ = self.trained_seconds, self.subject_words

    @property
    def subject_words(self) -> tuple[str, ...]:
        """Words that name the sounds of a model whose caption words are single tokens (`training.subject_words`)."""
        given = self.training.get(SUBJECT_WORDS, [])
        if not (isinstance(given, list | tuple) and all(isinstance(word, str) for word in given)):
            raise ConfigError(f"training.{SUBJECT_WORDS} must be a list of words, found {shown(given)}")
        return tuple(given)

    @property
    def max_seconds(self) -> float:
        """The longest clip that one pass makes: what the transformer has room for, and was trained on."""
        return min(self.sample_size / self.sample_rate, self.trained_seconds[1])

    @property
    def trained_seconds(self) -> tuple[float, float]:
        """The shortest and the longest clip of training (`training.clip_seconds`); without it any that fits.

        Outside this range the embedding of the duration is one that the transformer never saw.
        """
        given = self.training.get(CLIP_SECONDS, (0, math.inf))
        if not (isinstance(given, list | tuple) and [type(x) in (int, float) for x in given] == [True, True]):
            raise ConfigError(f"training.{CLIP_SECONDS} must be two numbers of seconds, found {shown(given)}")
        low, high = map(float, given)
        if not 0 <= low <= min(high, self.sample_size / self.sample_rate):
            raise ConfigError(f"training.{CLIP_SECONDS} must rise within the model's length, found {shown(given)}")
        return low, high


@dataclass(frozen=True)
class AutoencoderModelConfig:
    """The `model_config.json` of a repository that holds a SAME autoencoder alone."""

    model_type: Literal["autoencoder"]
    sample_rate: int
    model: SAMEConfig
    sample_size: int = 0
    audio_channels: int = 2
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def same(self) -> SAMEConfig:
        return self.model


@dataclass(frozen=True)
class T5GemmaConfig:
    """The text encoder: one stack of a T5Gemma checkpoint. Field names are those of its `config.json`."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_key_value_heads: int = 12
    head_dim: int = 64
    intermediate_size: int = 2048
    vocab_size: int = 256000
    max_position_embeddings: int = 8192
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    attn_logit_softcapping: float | None = 50.0
    query_pre_attn_scalar: float = 64
    pad_token_id: int = 0


def read_model_config(path: Path) -> ModelConfig | AutoencoderModelConfig:
    """Parse a `model_config.json`, generative or autoencoder alone."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"cannot read {path} as a JSON configuration: {error}") from error
    return parse_model_config(data)


def parse_model_config(data: Mapping[str, Any]) -> ModelConfig | AutoencoderModelConfig:
    """Parse an already decoded configuration, whose `model_type` says which kind it is."""
    if isinstance(data, Mapping) and data.get("model_type") == "autoencoder":
        return parse(AutoencoderModelConfig, data)
    return parse(ModelConfig, data)


def parse_text_encoder_config(data: Mapping[str, Any]) -> T5GemmaConfig:
    """Take the encoder's fields from a T5Gemma `config.json`, or from the flat META of an npz file.

    Such files hold dozens of fields of their own ecosystem, so fields that are not ours are passed over, except
    those that would change the arithmetic.
    """
    encoder = data.get("encoder", data)
    for name, wanted in (("hidden_activation", "gelu_pytorch_tanh"), ("attention_bias", False)):
        if encoder.get(name, wanted) != wanted:
            raise ConfigError(f"the text encoder's {name} is {encoder[name]!r}, only {wanted!r} is known")
    rope = encoder.get("rope_parameters") or {}
    known = {name: encoder[name] for name in T5GemmaConfig.__dataclass_fields__ if name in encoder}
    if "rope_theta" in rope:
        known["rope_theta"] = rope["rope_theta"]
    return parse(T5GemmaConfig, known, "text encoder")
