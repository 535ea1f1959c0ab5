"""The settings of adapter training: frozen dataclasses, the same for all engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from soundloom.config.ranges import Ranged, Within
from soundloom.errors import ConfigError, shown
from soundloom.lora.adapter import TYPES, AdapterType
from soundloom.lora.modules import GROUPS
from soundloom.lora.patterns import portable, require_matches, select
from soundloom.training.config import LoopConfig
from soundloom.training.lora.step import StepConfig
from soundloom.training.ranges import BatchSize, Count, Seed, Share, Size
from soundloom.untrusted.json import is_file_name

Scope = Literal["core", "core+seconds", "full"]
# Layers outside of the attention and feed-forward layers of blocks, which most published adapters leave alone.
OUTER = ("to_timestep_embed", "to_cond_embed", "to_global_embed", "to_local_embed", "global_cond_embedder")
EDGES = ("project_in", "project_out", "preprocess_conv", "postprocess_conv")
EXCLUDED: dict[Scope, tuple[str, ...]] = {
    "core": (*OUTER, *EDGES, "seconds_total"),
    "core+seconds": (*OUTER, *EDGES),
    "full": (),
}
MAX_RANK = 1024


@dataclass(frozen=True)
class AdapterConfig(Ranged):
    """The adapter to train. Its changes are scaled by alpha / rank; alpha 0 stands for the rank.

    `scope` selects the layers: those of attention and feed-forward, also the duration embedding, or all. `include` and
    `exclude` are patterns of names (see `lora.patterns`) that restrict it further. `dropout` is that of the inputs
    of A.
    """

    type: AdapterType = "dora-rows"
    rank: Annotated[int, Within(1, MAX_RANK)] = 16
    alpha: Annotated[float, Within(0, 1e6)] = 0.0
    dropout: Share = 0.0
    scope: Scope = "core"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type not in TYPES:
            raise ConfigError(f"no adapter type {self.type!r}", f"types: {', '.join(TYPES)}")
        if self.dropout == 1:
            raise ConfigError("a dropout of 1 leaves nothing to train")

    @property
    def scale(self) -> float:
        return (self.alpha or self.rank) / self.rank

    @property
    def excluded(self) -> tuple[str, ...]:
        """All patterns of layers that are left alone, in the spelling that other programs know."""
        return tuple(dict.fromkeys((*EXCLUDED[self.scope], *portable(self.exclude))))

    def layers(self, names: Sequence[str]) -> list[str]:
        """Return the layers to train. Raises RequestError for patterns that match nothing, or if no layer is left."""
        require_matches(self.include, names, "--include")
        require_matches(self.exclude, names, "--exclude")
        chosen = select(names, self.include, self.excluded)
        if not chosen:
            raise ConfigError(
                "no layer is left to train", f"scopes: {', '.join(EXCLUDED)}; groups: {', '.join(GROUPS)}"
            )
        return chosen

    def recorded(self) -> dict[str, Any]:
        """Return the `lora_config` of adapter files, as published."""
        return {
            "rank": self.rank,
            "alpha": self.alpha or float(self.rank),
            "adapter_type": self.type,
            "dropout": self.dropout,
            "include": list(portable(self.include)) or None,
            "exclude": list(self.excluded) or None,
        }


@dataclass(frozen=True)
class DataConfig(Ranged):
    """How clips become batches. `crop` is in latents; clips that are longer start at random, or at their start.

    `seconds` is the duration that the model is told: that of the whole clip, or of the crop. `trigger` is put before
    captions with the probability `trigger_share`. `latent_rms` above 0 sets the RMS of the latents of each clip, and
    `loudness` (LUFS) the level of each sound before encoding.
    """

    batch_size: BatchSize = 1
    crop: Annotated[int, Within(1, 65_536)] = 512
    random_crop: bool = True
    seconds: Literal["full", "crop"] = "full"
    trigger: str = ""
    trigger_share: Share = 1.0
    latent_rms: Annotated[float, Within(0, 100)] = 0.0
    loudness: Annotated[float, Within(-70, 0)] | None = None
    skip_faulty: bool = False
    held_out_clips: Size = 0  # that are set apart from the training set; a folder of its own can replace them


@dataclass(frozen=True)
class PreviewConfig(Ranged):
    """Clips that are generated while training, always from the same prompts and seeds: before the first step, every
    `every` steps, and after the last. With `every` 0 there are none.
    """

    every: Size = 500  # steps
    prompts: tuple[str, ...] = ()  # by default those of the first clips
    seconds: Annotated[float, Within(0, 600)] = 0.0  # 0 stands for the model's default, at most that of the clips
    steps: Size = 0  # of the sampler; 0 stands for the model's default
    seed: Seed = 0


@dataclass(frozen=True)
class LoraConfig(Ranged):
    """A run of adapter training. `compat` names the published behavior: padding stays in the softmax of attention,
    and magnitudes decay.

    Adapters are saved every `loop.save_every` steps; the last `keep_last` of them are kept, and those of every
    `keep_every` steps.
    """

    loop: LoopConfig
    name: str = "lora"
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    data: DataConfig = field(default_factory=DataConfig)
    step: StepConfig = field(default_factory=StepConfig)
    previews: PreviewConfig = field(default_factory=PreviewConfig)
    keep_last: Count = 3
    keep_every: Size = 0
    measure_every: Count = 500  # steps between measurements of held-out clips
    compat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_file_name(f"{self.name}.safetensors") or self.name.startswith("."):
            raise ConfigError(f"{shown(self.name)!r} cannot be part of a file name", "--name style")
