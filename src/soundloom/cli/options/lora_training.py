"""Options of `soundloom lora train`, whose fields become a `LoraConfig`. Spellings of other trainers are accepted."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from soundloom.cli.options.flags import flag, integer, numbers, switch
from soundloom.cli.options.shared import ema_flag, held_out_flag, name_flag, rank_flag, seed_flag, steps_flag, type_flag
from soundloom.errors import RequestError
from soundloom.lora.adapter import TYPES, is_xs
from soundloom.training.config import LoopConfig
from soundloom.training.lora.config import AdapterConfig, DataConfig, LoraConfig, PreviewConfig, Scope
from soundloom.training.lora.step import Distribution, StepConfig

DEFAULT_STEPS = 1000
RATE, XS_RATE = 1e-4, 5e-4  # learning rates
MAX_SILENCE = 4.0  # seconds, the published mean of the silence after short clips
SILENCE_SHARE = 1 / 12  # of the longest clip of a model, above which that would be too much
_OLD_TYPES = {"dora": "dora-rows", "dora-xs": "dora-rows-xs", "xs": "lora-xs"}
_SAMPLERS = {
    "trunc-logit-normal": "truncated-logit-normal",
    "log-snr": "logsnr-normal",
    "log-snr-uniform": "logsnr-uniform",
}
_SCHEDULES = {"inverse-lr": "inverse", "inverselr": "inverse", "none": "constant"}


def _choice(known: Sequence[str], others: dict[str, str]) -> Callable[[str], str]:
    """Return a parser of names in any spelling: `_` for `-`, upper case, and those of other trainers."""

    def parse(text: str) -> str:
        name = text.lower().replace("_", "-")
        name = others.get(name, name)
        if name not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(known)}")
        return name

    return parse


class Patterns(argparse.Action):
    """Collect patterns, separated by spaces or commas, of one or several flags."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        found = [part.strip() for value in values for part in value.split(",") if part.strip()]
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest, None) or ()), *found])


@dataclass(frozen=True)
class AdapterOptions:
    """Adapter."""

    adapter_type: str = type_flag(
        default="dora-rows",
        hidden=("--adapter-type",),
        type=_choice(TYPES, _OLD_TYPES),
        metavar="TYPE",
        help=", ".join(TYPES),
    )
    rank: int = rank_flag(default=16, help="its rank; 4 to 16 for small sets")
    alpha: float = flag(
        "--alpha", default=0.0, hidden=("--lora-alpha",), type=float, metavar="A", help="its scale (default: the rank)"
    )
    scope: Scope = flag(  # noqa: RUF009
        "--scope",
        default="core",
        hidden=("--lora-scope",),
        choices=get_args(Scope),
        help="layers to train: attention and feed-forward, also the duration embedding, or all",
    )
    include: Sequence[str] = flag(
        "--include",
        default=(),
        hidden=("--lora-include",),
        nargs="+",
        action=Patterns,
        metavar="PART",
        help="train only layers of the scope whose names contain one of these parts, such as layers[0-5]",
    )
    exclude: Sequence[str] = flag(
        "--exclude",
        default=(),
        hidden=("--lora-exclude",),
        nargs="+",
        action=Patterns,
        metavar="PART",
        help="leave these layers alone",
    )
    dropout: float = flag("--dropout", default=0.0, type=float, metavar="P", help="dropout of the inputs of A")


@dataclass(frozen=True)
class SetOptions:
    """Data."""

    loudness: float | None = flag(
        "--loudness", type=float, metavar="LUFS", help="bring sounds to this loudness before encoding, such as -16"
    )
    skip_faulty: bool = switch("--skip-faulty", help="leave out clips that are silent, unreadable, or without caption")


@dataclass(frozen=True)
class DataOptions(SetOptions):
    """Data."""

    batch: int = flag(
        "--batch", default=1, hidden=("--batch-size",), type=integer, metavar="N", help="clips per micro-batch"
    )
    crop: int | None = flag(
        "--crop",
        hidden=("--latent-crop-length", "--frames"),
        type=integer,
        metavar="N",
        help="latents of a clip that a step sees, from a random place (default: 512, about 48 s)",
    )
    crop_seconds: float | None = flag(
        "--crop-seconds", hidden=("--duration",), type=float, metavar="S", help="the same in seconds"
    )
    seconds_total: Literal["full", "crop"] = flag(
        "--seconds-total",
        default="full",
        hidden=("--seconds",),
        choices=("full", "crop"),
        help="the duration that the model is told: that of the whole clip, or of the crop",
    )
    trigger: str = flag("--trigger", default="", metavar="WORDS", help="put these words before every caption")
    trigger_share: float = flag(
        "--trigger-share", default=1.0, type=float, metavar="P", help="share of the steps in which the trigger is used"
    )
    held_out: str | None = held_out_flag(
        help="a folder of clips, or a number of clips to set apart; their loss shows overfitting",
    )
    target_latent_rms: float = flag(
        "--target-latent-rms", default=0.0, type=float, metavar="RMS", help="bring latents to this level, such as 0.9"
    )


@dataclass(frozen=True)
class StepOptions:
    """Training step."""

    steps: int = steps_flag(default=DEFAULT_STEPS, hidden=("--max-steps",), help="optimizer steps of the whole run")
    lr: float | None = flag(
        "--lr",
        hidden=("--learning-rate",),
        type=float,
        metavar="R",
        help=f"learning rate (default: {RATE:g}; {XS_RATE:g} for -xs types)",
    )
    schedule: Literal["inverse", "cosine", "constant"] = flag(
        "--schedule",
        default="inverse",
        hidden=("--lr-scheduler",),
        type=_choice(("inverse", "cosine", "constant"), _SCHEDULES),
        metavar="NAME",
        help="of the learning rate: inverse, cosine, or constant",
    )
    accumulate: int = flag("--accumulate", default=1, type=integer, metavar="N", help="micro-batches per step")
    grad_clip: float = flag("--grad-clip", default=1.0, type=float, metavar="NORM", help="largest gradient norm")
    weight_decay: float = flag("--weight-decay", default=0.01, type=float, metavar="D", help="of AdamW, on matrices")
    ema: float = ema_flag(
        default=0.0, type=float, metavar="D", help="also save a moving average with this decay, such as 0.999"
    )
    timesteps: Distribution = flag(  # noqa: RUF009
        "--timesteps",
        default="truncated-logit-normal",
        hidden=("--timestep-sampler",),
        type=_choice(get_args(Distribution), _SAMPLERS),
        metavar="NAME",
        help=", ".join(get_args(Distribution)),
    )
    mask_probabilities: Sequence[float] = flag(
        "--mask-probabilities",
        default=(0.1, 0.8, 0.1),
        hidden=("--inpaint-mask-probs",),
        type=numbers(float),
        metavar="P,P,P",
        help="of inpainting masks: segments, none, continuation",
    )
    cfg_dropout: float = flag(
        "--cfg-dropout", default=0.1, hidden=("--cfg-dropout-prob",), type=float, metavar="P", help="dropped prompts"
    )
    coupling: bool = flag(
        "--coupling",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="assign noise to the clips of a batch by optimal transport",
    )
    seed: int = seed_flag(default=0, type=integer, help="of the start values and all random draws")


@dataclass(frozen=True)
class CheckpointOptions:
    """Checkpoints and previews."""

    name: str = name_flag(default="lora", metavar="NAME", help="start of the names of adapter files")
    save_every: int = flag(
        "--save-every", default=500, hidden=("--checkpoint-every",), type=integer, metavar="N", help="steps"
    )
    keep_last: int = flag("--keep-last", default=3, type=integer, metavar="N", help="adapters to keep")
    keep_every: int = flag(
        "--keep-every", default=0, type=integer, metavar="N", help="also keep those of every N steps (default: none)"
    )
    log_every: int = flag("--log-every", default=50, type=integer, metavar="N", help="steps")
    preview_every: int = flag(
        "--preview-every",
        default=500,
        hidden=("--demo-every",),
        type=integer,
        metavar="N",
        help="steps between clips that are generated with the adapter; 0 for none",
    )
    preview_prompts: Sequence[str] = flag(
        "--preview-prompt", default=(), action="append", metavar="TEXT", help="repeatable (default: some captions)"
    )
    preview_seconds: float = flag(
        "--preview-seconds", default=0.0, type=float, metavar="S", help="their length (default: the model's)"
    )


@dataclass(frozen=True)
class LoraTrainingOptions(AdapterOptions, DataOptions, StepOptions, CheckpointOptions):
    """Options."""

    def config(self, rate: float, max_seconds: float, compat: bool) -> LoraConfig:
        """Return the configuration for a model with `rate` latents per second. Raises ConfigError or RequestError."""
        return LoraConfig(
            loop=self._loop(compat),
            name=self.name,
            adapter=AdapterConfig(
                type=self.adapter_type,  # type: ignore[arg-type]  # checked by the parser
                rank=self.rank,
                alpha=self.alpha,
                dropout=self.dropout,
                scope=self.scope,
                include=tuple(self.include),
                exclude=tuple(self.exclude),
            ),
            data=self._data(rate),
            step=self._step(max_seconds),
            previews=PreviewConfig(
                every=self.preview_every, prompts=tuple(self.preview_prompts), seconds=self.preview_seconds
            ),
            keep_last=self.keep_last,
            keep_every=self.keep_every,
            measure_every=self.save_every,
            compat=compat,
        )

    def _loop(self, compat: bool) -> LoopConfig:
        rate = self.lr if self.lr is not None else XS_RATE if is_xs(self.adapter_type) else RATE
        return LoopConfig(
            steps=self.steps,
            learning_rate=rate,
            final_learning_rate=rate if self.schedule == "constant" else 0.0,
            warmup_steps=min(100, self.steps // 10) if self.schedule == "cosine" else 0,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            decay_vectors=compat,
            clip_norm=self.grad_clip,
            ema=self.ema,
            accumulate=self.accumulate,
            save_every=self.save_every,
            log_every=self.log_every,
            seed=self.seed,
        )

    def _data(self, rate: float) -> DataConfig:
        if self.crop is not None and self.crop_seconds is not None:
            raise RequestError("--crop and --crop-seconds say the same in two units", "give one of them")
        in_seconds = None if self.crop_seconds is None else max(1, round(self.crop_seconds * rate))
        return DataConfig(
            batch_size=self.batch,
            seconds=self.seconds_total,
            trigger=self.trigger,
            trigger_share=self.trigger_share,
            latent_rms=self.target_latent_rms,
            loudness=self.loudness,
            skip_faulty=self.skip_faulty,
            held_out_clips=self.held_out_count or 0,
            crop=self.crop or in_seconds or DataConfig.crop,
        )

    @property
    def held_out_count(self) -> int | None:
        """The number of clips to set apart; None where there is none, or a folder is named."""
        return int(self.held_out) if self.held_out is not None and self.held_out.isdecimal() else None

    def _step(self, max_seconds: float) -> StepConfig:
        return StepConfig(
            times=self.timesteps,
            coupling=self.coupling,
            silence_seconds=min(MAX_SILENCE, max_seconds * SILENCE_SHARE),
            mask_probabilities=tuple(self.mask_probabilities),
            cfg_dropout=self.cfg_dropout,
        )
