"""The `model_config.json` of Stable Audio models as frozen dataclasses, shared by both engines.

Field names are those of the file. Derived sizes are properties. Fields that no checkpoint uses are absent, which makes
them errors, or allow only their published value.
Source: configurations of the Stable Audio 3 repositories; defaults are those of the stable-audio-3 package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from soundloom.config.parse import parse
from soundloom.config.ranges import (
    MAX_SAMPLES,
    MAX_WIDTH,
    Channels,
    Depth,
    Heads,
    SampleRate,
    Tokens,
    Width,
    WidthRatio,
    Within,
    check_ranges,
)
from soundloom.config.stable_audio.same import SAMEConfig
from soundloom.config.stable_audio.training_section import clip_seconds, sound_names
from soundloom.errors import ConfigError, shown
from soundloom.untrusted.json import is_file_name, read_json


@dataclass(frozen=True)
class ShiftConfig:
    """A shift of the timestep schedule; `diffusion.schedules` has the formulas. Lengths are in latent frames."""

    type: Literal["none", "flux", "full", "logsnr"] = "full"
    min_length: Annotated[float, Within(1, 1e9)] = 256
    max_length: Annotated[float, Within(1, 1e9)] = 4096
    alpha_min: Annotated[float, Within(0, 1e6)] = 1.0
    alpha_max: Annotated[float, Within(0, 1e6)] = 1.0
    base_shift: Annotated[float, Within(-50, 50)] = 0.5
    max_shift: Annotated[float, Within(-50, 50)] = 1.15
    use_sine: bool = False
    anchor_length: Annotated[float, Within(1, 1e9)] = 2000
    anchor_logsnr: Annotated[float, Within(-100, 100)] = -6.2
    rate: Annotated[float, Within(-100, 100)] = 1.0
    logsnr_end: Annotated[float, Within(-100, 100)] = 2.0

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.min_length >= self.max_length:
            raise ConfigError(f"min_length {self.min_length:g} must be below max_length {self.max_length:g}")


# The published inference code uses this, since no configuration sets a sampling shift.
DEFAULT_SAMPLING_SHIFT = ShiftConfig(type="logsnr", rate=0.0)


@dataclass(frozen=True)
class AttentionConfig:
    """Options of the transformer's attention."""

    qk_norm: Literal["rms"] = "rms"
    differential: bool = False


@dataclass(frozen=True)
class FeedForwardConfig:
    """Options of the transformer's gated feed-forward layers."""

    mult: WidthRatio = 4.0

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class NormConfig:
    """Options of the transformer's block norms."""

    force_fp32: bool = True


@dataclass(frozen=True)
class DiTConfig:
    """The diffusion transformer (`model.diffusion.config`)."""

    io_channels: Width
    embed_dim: Width
    depth: Depth
    num_heads: Heads
    cond_token_dim: Width
    global_cond_dim: Width
    local_add_cond_dim: Annotated[int, Within(1, MAX_WIDTH + 1)]
    num_memory_tokens: Annotated[int, Within(0, 4096)] = 0
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
    timestep_features_dim: Annotated[int, Within(2, MAX_WIDTH)] = 256
    timestep_features_logsnr: Literal[False] = False

    def __post_init__(self) -> None:
        check_ranges(self)
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
    """The diffusion model around the transformer (`model.diffusion`)."""

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
                raise ConfigError(
                    f"model.diffusion.{name} must be {list(value)}, found {shown(list(getattr(self, name)))}"
                )

    @property
    def sampling_shift(self) -> ShiftConfig:
        return self.sampling_distribution_shift_options or DEFAULT_SAMPLING_SHIFT


@dataclass(frozen=True)
class PromptConfig:
    """The text conditioner; `repo_id` and `subfolder` locate its T5Gemma encoder."""

    max_length: Tokens = 256
    padding_mode: Literal["learned", "zero", "none"] = "learned"
    repo_id: str = ""
    subfolder: str = ""
    model_name: str = ""

    def __post_init__(self) -> None:
        check_ranges(self)
        # These become parts of paths.
        for name in ("repo_id", "subfolder"):
            value = getattr(self, name)
            if value and not all(map(is_file_name, value.split("/"))):
                raise ConfigError(f"{name} of the prompt must name a repository or folder, found {shown(value)!r}")


@dataclass(frozen=True)
class NumberConfig:
    """The conditioner of `seconds_total`."""

    min_val: Annotated[float, Within(0, 1e6)] = 0
    max_val: Annotated[float, Within(0, 1e6)] = 384
    fourier_features_type: Literal["expo"] = "expo"

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.min_val >= self.max_val:
            raise ConfigError(f"min_val {self.min_val:g} of seconds_total must be below max_val {self.max_val:g}")


@dataclass(frozen=True)
class ConditionerConfig:
    """One entry of `model.conditioning.configs`."""

    id: str
    type: Literal["t5gemma", "number"]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class ConditioningConfig:
    """All conditioners (`model.conditioning`): a prompt and a number of seconds."""

    cond_dim: Width
    configs: tuple[ConditionerConfig, ...]

    def __post_init__(self) -> None:
        check_ranges(self)
        found = [(conditioner.id, conditioner.type) for conditioner in self.configs]
        if found != [("prompt", "t5gemma"), ("seconds_total", "number")]:
            raise ConfigError(
                "model.conditioning.configs must be a t5gemma 'prompt' and a number 'seconds_total', "
                f"found {shown(found)}"
            )
        # Validate these fields when the file is read.
        _ = self.prompt, self.seconds_total

    @property
    def prompt(self) -> PromptConfig:
        return parse(PromptConfig, self.configs[0].config, "model.conditioning.configs[0].config")

    @property
    def seconds_total(self) -> NumberConfig:
        return parse(NumberConfig, self.configs[1].config, "model.conditioning.configs[1].config")


@dataclass(frozen=True)
class PretransformConfig:
    """The autoencoder of a generative model (`model.pretransform`). `scale` is unused, also upstream."""

    config: SAMEConfig
    type: Literal["autoencoder"] = "autoencoder"
    chunked: bool = False
    iterate_batch: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class GeneratorConfig:
    """The `model` section of a generative configuration."""

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
class SamplingDefaults:
    """The steps, sampler and guidance scale of requests that set none."""

    steps: int
    sampler: str
    guidance: float


DISTILLED_SAMPLING = SamplingDefaults(8, "pingpong", 1.0)
BASE_SAMPLING = SamplingDefaults(50, "euler", 7.0)


@dataclass(frozen=True)
class ModelConfig:
    """A generative `model_config.json`."""

    model_type: Literal["diffusion_cond_inpaint"]
    sample_size: Annotated[int, Within(1, MAX_SAMPLES)]
    sample_rate: SampleRate
    model: GeneratorConfig
    audio_channels: Channels = 2
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)
        _require_channels(self.audio_channels, self.same)
        # Validate these fields when the file is read.
        _ = self.trained_seconds, self.sound_names
        if self.sample_size < self.same.downsampling_ratio:
            raise ConfigError(f"sample_size {self.sample_size} is shorter than one latent frame")

    @property
    def dit(self) -> DiTConfig:
        return self.model.diffusion.config

    @property
    def same(self) -> SAMEConfig:
        return self.model.pretransform.config

    @property
    def is_distilled(self) -> bool:
        """Whether the model was post-trained to sample in few steps without guidance."""
        return self.model.diffusion.diffusion_objective == "rf_denoiser"

    @property
    def sampling_defaults(self) -> SamplingDefaults:
        return DISTILLED_SAMPLING if self.is_distilled else BASE_SAMPLING

    @property
    def sound_names(self) -> tuple[str, ...]:
        """Words for the sounds that a model with a word-level vocabulary knows (`training.sound_names`)."""
        return sound_names(self.training)

    @property
    def max_seconds(self) -> float:
        """The longest clip of one pass, limited by `sample_size` and the training clips."""
        return self.trained_seconds[1]

    @property
    def trained_seconds(self) -> tuple[float, float]:
        """The shortest and longest training clip (`training.clip_seconds`); by default the limits of the model.

        Outside this range, duration embeddings are untrained.
        """
        frame, longest = self.same.downsampling_ratio / self.sample_rate, self.sample_size / self.sample_rate
        return clip_seconds(self.training, frame, longest)


@dataclass(frozen=True)
class AutoencoderModelConfig:
    """The `model_config.json` of a standalone SAME autoencoder."""

    model_type: Literal["autoencoder"]
    sample_rate: SampleRate
    model: SAMEConfig
    sample_size: Annotated[int, Within(0, MAX_SAMPLES)] = 0
    audio_channels: Channels = 2
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)
        _require_channels(self.audio_channels, self.same)

    @property
    def same(self) -> SAMEConfig:
        return self.model


def _require_channels(audio_channels: int, same: SAMEConfig) -> None:
    if audio_channels != same.io_channels:
        raise ConfigError(
            f"audio_channels {audio_channels} must equal io_channels {same.io_channels} of the autoencoder"
        )


def read_model_config(path: Path) -> ModelConfig | AutoencoderModelConfig:
    """Parse a `model_config.json` of a generative model or an autoencoder. Raises ConfigError."""
    return parse_model_config(read_json(path))


def parse_model_config(data: Mapping[str, Any]) -> ModelConfig | AutoencoderModelConfig:
    """Parse a decoded configuration; `model_type` selects its class. Raises ConfigError."""
    model_type = data.get("model_type") if isinstance(data, Mapping) else None
    if model_type == "musicgen":
        raise ConfigError("this is a MusicGen model, and a Stable Audio model is needed", "use mini or small-music")
    if model_type == "autoencoder":
        return parse(AutoencoderModelConfig, data)
    return parse(ModelConfig, data)
