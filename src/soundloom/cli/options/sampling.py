"""Options of sampling: seeds, guidance, schedules, and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from soundloom.cli.options.flags import Extend, flag, numbers, span, switch
from soundloom.cli.options.shared import cfg_flag, compat_flag, sampler_flag, seed_flag, steps_flag
from soundloom.config.stable_audio.mix import Mix, parse_mix
from soundloom.config.stable_audio.model import (
    BASE_SAMPLING,
    DEFAULT_SAMPLING_SHIFT,
    DISTILLED_SAMPLING,
    ModelConfig,
    ShiftConfig,
)
from soundloom.config.stable_audio.request import COMPAT, SAMPLER_NAMES, Compat, Guidance, sampler_name


@dataclass(frozen=True)
class SeedOptions:
    """Seeds."""

    seed: Sequence[int] = seed_flag(
        default=(),
        action=Extend,
        type=numbers(int),
        help="a seed, incremented for each further clip, or one per prompt: 7,20 (default and -1: random)",
    )
    count: int = flag(
        "--count",
        "--batch-size",
        default=1,
        type=int,
        metavar="N",
        help="clips per prompt, each with the next seed",
    )


@dataclass(frozen=True)
class CfgOptions:
    """Guidance."""

    cfg: float | None = cfg_flag(
        help="classifier-free guidance scale; 1 disables it "
        f"(default: {DISTILLED_SAMPLING.guidance:g}; base models {BASE_SAMPLING.guidance:g}, MusicGen 3)",
    )


@dataclass(frozen=True)
class GuidanceOptions:
    """Guidance."""

    negative_prompt: Sequence[str] = flag(
        "--negative-prompt",
        default=(),
        action="append",
        metavar="TEXT",
        help="what to avoid; requires --cfg above 1",
    )
    apg: float | None = flag(
        "--apg",
        type=float,
        metavar="X",
        help="adaptive projected guidance: 1 removes the component parallel to the prediction, 0 keeps it (default: 1)",
    )
    cfg_interval: tuple[float, float] | None = flag(
        "--cfg-interval", type=span, metavar="LO,HI", help="timesteps where guidance is applied (default: 0,1)"
    )
    cfg_rescale: float | None = flag(
        "--cfg-rescale", type=float, metavar="X", help="guidance rescale factor (default: 0)"
    )
    cfg_norm_threshold: float | None = flag(
        "--cfg-norm-threshold", type=float, metavar="NORM", help="maximum norm of the guidance (default: 0, unlimited)"
    )


@dataclass(frozen=True)
class BlendOptions:
    """Blends."""

    prompt_b: Sequence[str] = flag(
        "--prompt-b", default=(), action="append", metavar="TEXT", help="a second prompt to blend with; see --mix"
    )
    mix: str | None = flag(
        "--mix",
        metavar="X",
        help="share of the second prompt, 0 to 1, or a curve of SECONDS:SHARE such as 0:0,2:1 (default: 0.5)",
    )

    @property
    def mixes(self) -> Sequence[Mix]:
        """The share or curve for all clips; nothing if none was given."""
        return () if self.mix is None else (parse_mix(self.mix),)


@dataclass(frozen=True)
class SamplingOptions(SeedOptions, CfgOptions, GuidanceOptions, BlendOptions):
    """Sampling."""

    steps: int | None = steps_flag(
        help=f"sampling steps (default: {DISTILLED_SAMPLING.steps}; base models {BASE_SAMPLING.steps})"
    )
    sampler: str | None = sampler_flag(
        help=f"{', '.join(SAMPLER_NAMES)} (default: {DISTILLED_SAMPLING.sampler}; base models {BASE_SAMPLING.sampler})",
    )
    shift: Literal["logsnr", "flux", "full", "none"] | None = flag(
        "--shift", choices=("logsnr", "flux", "full", "none"), help="timestep schedule (default: the model's)"
    )
    duration_padding: float | None = flag(
        "--duration-padding",
        type=float,
        metavar="S",
        help="seconds to generate after the clip and discard (default: 6)",
    )
    strict_words: bool = switch("--strict-words", help="reject prompts that name no sound the model knows (mini only)")
    compat: str | None = compat_flag(choices=tuple(COMPAT), help="reproduce another implementation")

    def changes(self, base: Guidance | None, config: ModelConfig) -> dict[str, Any]:
        """Return the request fields that were given."""
        given: dict[str, Any] = {
            "steps": self.steps,
            "sampler": sampler_name(self.sampler) if self.sampler else None,
            "guidance": self._guidance(base, config),
            "shift": self._shift(),
            "duration_padding": self.duration_padding,
            "compat": Compat.named(self.compat) if self.compat else None,
            "strict_words": self.strict_words or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _guidance(self, base: Guidance | None, config: ModelConfig) -> Guidance | None:
        given = {
            "scale": self.cfg,
            "apg": self.apg,
            "interval": self.cfg_interval,
            "rescale": self.cfg_rescale,
            "norm_threshold": self.cfg_norm_threshold,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if not given:
            return None
        return replace(base or Guidance(config.sampling_defaults.guidance), **given)  # type: ignore[arg-type]

    def _shift(self) -> ShiftConfig | None:
        if self.shift is None:
            return None
        return DEFAULT_SAMPLING_SHIFT if self.shift == "logsnr" else ShiftConfig(self.shift)


@dataclass(frozen=True)
class TokenSamplingOptions:
    """Token sampling (MusicGen)."""

    temperature: float | None = flag(
        "--temperature", type=float, metavar="T", help="0 always picks the most likely token (default: 1)"
    )
    top_k: int | None = flag(
        "--top-k",
        type=int,
        metavar="N",
        help="sample from the N most likely tokens; 0: from all (default: 250; edits 100)",
    )
    top_p: float | None = flag(
        "--top-p",
        type=float,
        metavar="P",
        help="sample from the smallest set of tokens with this probability (default: 0, off)",
    )

    def token_sampling(self) -> dict[str, Any]:
        """Return the request fields that were given."""
        given = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return {name: value for name, value in given.items() if value is not None}
