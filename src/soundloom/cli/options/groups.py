"""Options that several commands share: each flag is declared once, in a group or as a partial of `flag`.

Both published spellings of a flag are accepted everywhere.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE
from soundloom.cli.options.flags import Extend, Span, ends, flag, numbers, span, switch
from soundloom.config.stable_audio.model import DEFAULT_SAMPLING_SHIFT, ModelConfig, ShiftConfig
from soundloom.config.stable_audio.request import COMPAT, SAMPLER_NAMES, Compat, Guidance, bars, sampler_name
from soundloom.errors import RequestError, shown
from soundloom.pipeline.stable_audio.plan import BASE_GUIDANCE

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8", "fp8")
SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}

# Flags whose default and help depend on the command.
prompt_flag = partial(flag, "-p", "--prompt", default=(), action="append", metavar="TEXT", help="same as PROMPT")
seconds_flag = partial(flag, "--seconds", "--duration", type=float, metavar="S")
steps_flag = partial(flag, "--steps", type=int, metavar="N")
noise_flag = partial(flag, "--noise", "--init-noise-level", type=float, metavar="LEVEL")
crossfade_flag = partial(
    flag, "--crossfade", type=float, metavar="S", help="length of the fade at each edge of a region (default: 0.01)"
)
precision_flag = partial(flag, "--precision", "--dit-dtype", choices=PRECISIONS)
out_flag = partial(flag, "-o", "--out", metavar="FILE")
work_flag = partial(flag, "--work", metavar="FOLDER")
prompts_flag = partial(flag, "--prompts", type=int, metavar="N")


def require_length(seconds: float) -> None:
    """Raise RequestError unless the value of --seconds is finite and positive."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise RequestError(f"--seconds must be a number above 0, found {seconds:g}")


@dataclass(frozen=True)
class LicenseOptions:
    """Model and device."""

    accept_license: bool = switch(
        "--accept-license", hidden=("--accept-licence",), help="accept the license of downloaded weights"
    )


@dataclass(frozen=True)
class DownloadOptions(LicenseOptions):
    """Model and device."""

    revision: str | None = flag("--revision", metavar="COMMIT", help="download this commit instead of the pinned one")
    offline: bool | None = flag("--offline", action="store_true", help="never use the network")


@dataclass(frozen=True)
class EngineOptions:
    """Model and device."""

    engine: str = flag("--engine", default="auto", metavar="NAME", help="auto, torch, or mlx")


@dataclass(frozen=True)
class DeviceOptions:
    """Model and device."""

    device: str | None = flag("--device", metavar="NAME", help="cpu, cuda, mps, or gpu (default: the fastest)")


@dataclass(frozen=True)
class ModelOptions(EngineOptions, DeviceOptions, DownloadOptions):
    """Model and device."""

    model: str | None = flag(
        "--model",
        "--dit",
        metavar="NAME",
        help="a name from `soundloom models`, a folder, or a file (default: mini; instruct-musicgen for edit)",
    )

    @property
    def model_name(self) -> str:
        return self.model or "mini"


@dataclass(frozen=True)
class PrecisionOptions:
    """Precision and memory."""

    precision: str | None = precision_flag(
        help="precision of the transformer (default: auto; fp16 on GPUs, the fastest native format on CPUs)"
    )
    no_half: bool = switch("--no-half", help="same as --precision fp32")
    free_models: bool = flag(
        "--free-models",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="free each network as soon as it is no longer needed (default: yes)",
    )

    @property
    def transformer_precision(self) -> str:
        if self.no_half and self.precision not in (None, "fp32"):
            raise RequestError(f"--no-half means --precision fp32, but --precision {self.precision} was given too")
        return "fp32" if self.no_half else self.precision or "auto"


@dataclass(frozen=True)
class AutoencoderOptions:
    """Autoencoder."""

    decoder: str | None = flag(
        "--decoder", choices=("same-s", "same-l"), help="check that the model uses this autoencoder"
    )
    chunked_decode: bool = flag(
        "--chunked-decode",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="no effect, for compatibility: long audio is always decoded in chunks, with identical results",
    )

    def check_decoder(self, name: str, config: ModelConfig) -> None:
        """Raise RequestError if --decoder names another autoencoder than the model's."""
        own = "same-s" if config.same.decoder.config.sliding_window is None else "same-l"
        if self.decoder not in (None, own):
            raise RequestError(
                f"{name} generates latents of {own}, not {self.decoder}", f"leave out --decoder, or use --decoder {own}"
            )


@dataclass(frozen=True)
class SeedOptions:
    """Seeds and guidance."""

    seed: Sequence[int] = flag(
        "--seed",
        default=(),
        action=Extend,
        type=numbers(int),
        metavar="N",
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
    cfg: float | None = flag(
        "--cfg",
        "--cfg-scale",
        "--guidance",
        type=float,
        metavar="SCALE",
        help="classifier-free guidance scale; 1 disables it (default: 1; base models 7, MusicGen 3)",
    )


@dataclass(frozen=True)
class SamplingOptions(SeedOptions):
    """Sampling."""

    negative_prompt: Sequence[str] = flag(
        "--negative-prompt",
        default=(),
        action="append",
        metavar="TEXT",
        help="what to avoid; requires --cfg above 1",
    )
    steps: int | None = steps_flag(help="sampling steps (default: 8; base models 50)")
    sampler: str | None = flag(
        "--sampler", metavar="NAME", help=f"{', '.join(SAMPLER_NAMES)} (default: pingpong; base models euler)"
    )
    apg: float | None = flag(
        "--apg",
        type=float,
        metavar="X",
        help="adaptive projected guidance: 1 removes the parallel component, 0 keeps it (default: 1)",
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
    shift: Literal["logsnr", "flux", "full", "none"] | None = flag(
        "--shift", choices=("logsnr", "flux", "full", "none"), help="timestep schedule (default: the model's)"
    )
    duration_padding: float | None = flag(
        "--duration-padding", type=float, metavar="S", help="generated after the clip and discarded (default: 6)"
    )
    strict_words: bool = switch("--strict-words", help="reject prompts that name no sound the model knows (mini only)")
    compat: str | None = flag("--compat", choices=tuple(COMPAT), help="reproduce another implementation")

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
        return replace(base or Guidance(1.0 if config.is_distilled else BASE_GUIDANCE), **given)  # type: ignore[arg-type]

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


@dataclass(frozen=True)
class RegionOptions:
    """Regions."""

    region: Sequence[Span] = flag(
        "--region",
        "--inpaint-range",
        default=(),
        action="append",
        type=span,
        metavar="START,END",
        help="seconds to regenerate, such as 4,7 or 4-7; repeatable",
    )
    inpaint_start: Sequence[float] = flag(
        "--inpaint-start",
        default=(),
        action="append",
        type=float,
        metavar="START",
        help="same as --region START,END; repeatable",
    )
    inpaint_end: Sequence[float] = flag(
        "--inpaint-end", default=(), action="append", type=float, metavar="END", help="goes with --inpaint-start"
    )
    bars: Sequence[str] = flag(
        "--bars",
        default=(),
        action="append",
        metavar="FROM-TO",
        help="a region in bars, without its end: 3-5 is bars 3 and 4; 3.2 is beat 2 of bar 3; repeatable",
    )
    bpm: float | None = flag("--bpm", type=float, metavar="BPM", help="tempo in beats per minute, for --bars")
    meter: str = flag("--meter", default="4/4", metavar="N/M", help="time signature, for --bars")

    def regions(self) -> list[Span]:
        """Return all regions, in seconds."""
        if len(self.inpaint_start) != len(self.inpaint_end):
            raise RequestError(
                f"found {len(self.inpaint_start)} --inpaint-start but {len(self.inpaint_end)} --inpaint-end"
            )
        if self.bpm is not None and not self.bars:
            raise RequestError("--bpm requires --bars", "to ask for a tempo, mention it in the prompt")
        pairs = list(zip(self.inpaint_start, self.inpaint_end, strict=True))
        return [*self.region, *pairs, *(self._bars(text) for text in self.bars)]

    def _bars(self, text: str) -> Span:
        places = ends(text)
        beats, slash, unit = self.meter.partition("/")
        if places is None:
            raise RequestError(f"'{shown(text)}' is not a range of bars", "--bars 3-5 is bars 3 and 4")
        if not (slash and beats.isdecimal() and unit.isdecimal()):
            raise RequestError(f"'{shown(self.meter)}' is not a time signature", "--meter 3/4 has three beats per bar")
        if self.bpm is None:
            raise RequestError("--bars requires --bpm", "for example --bpm 120")
        return bars(*places, self.bpm, int(beats))


@dataclass(frozen=True)
class JsonOptions:
    """Output."""

    json: bool = switch("--json", help="print the result as one JSON object")


@dataclass(frozen=True)
class SaveOptions(JsonOptions):
    """Output."""

    save: str | None = flag("--save", metavar="FILE", help="also write the result to a JSON file")

    def check_save(self) -> None:
        if self.save and Path(self.save).is_dir():
            raise RequestError(f"--save {self.save} is a folder", "name a file in it")


@dataclass(frozen=True)
class QuietOptions:
    """Output."""

    quiet: bool = switch("-q", "--quiet", help="hide progress and summary")


@dataclass(frozen=True)
class SubtypeOptions:
    """Output."""

    subtype: str | None = flag(
        "--subtype",
        hidden=("--bits",),
        choices=tuple(SUBTYPES),
        help="bits per sample (default: 24, or as the source; float for WAV files of `soundloom decode`)",
    )

    @property
    def sample_type(self) -> str | None:
        return SUBTYPES[self.subtype] if self.subtype else None


@dataclass(frozen=True)
class OutputOptions(SubtypeOptions, JsonOptions, QuietOptions):
    """Output."""

    out: str | None = out_flag(
        help="a WAV, FLAC, OGG, or MP3 file, or a folder; may contain {prompt}, {seed}, {n}, and {model} (default: "
        "named after prompt and seed)"
    )
    rate: int | None = flag("--rate", type=int, metavar="HZ", help="sample rate (default: 44100, or as the source)")
    channels: int | None = flag(
        "--channels", type=int, choices=(1, 2), help="1 mixes down to mono (default: 2, or as the source)"
    )
    lufs: float | None = flag("--lufs", type=float, metavar="TARGET", help="normalize to this loudness, such as -14")
    true_peak: float | None = flag("--true-peak", type=float, metavar="DBTP", help="limit for --lufs (default: -1)")
    peak: Literal["safe", "clip"] = flag(
        "--peak", default="safe", choices=("safe", "clip"), help="above full scale, turn the clip down or hard clip"
    )
    sidecar: bool = switch("--sidecar", help="also write the metadata to NAME.json")
    overwrite: bool | None = flag(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        help="replace existing files, including the source (default: only files named with --out)",
    )
    keep_bad: bool = switch("--keep-bad", help="save clips that fail the checks too: silence, static, far too loud")
    play: bool = switch("--play", help="play the result")


@dataclass(frozen=True)
class GroupSizeOptions:
    """Quantization."""

    group_size: int = flag(
        "--group-size",
        default=DEFAULT_GROUP_SIZE,
        hidden=("--group",),
        type=int,
        metavar="N",
        help="weights that share a scale",
    )


@dataclass(frozen=True)
class EditOptions:
    """Source."""

    input: str = flag(metavar="IN", help="an audio file; the result has its sample rate, channels, and bit depth")
    positional_prompt: str | None = flag(
        metavar="PROMPT", nargs="?", help="what to generate (default: the prompt in the metadata of IN)"
    )
    prompt: Sequence[str] = prompt_flag(help='same as PROMPT; "" is an empty prompt')
    crossfade: float | None = crossfade_flag()
    trim: tuple[float, float] | None = flag(
        "--trim", type=span, metavar="START,END", help="edit only these seconds of IN, such as 1,4"
    )

    @property
    def text(self) -> str | None:
        """The prompt, or None if none was given."""
        prompts = [text for text in (self.positional_prompt, *self.prompt) if text is not None]
        if len(prompts) > 1:
            raise RequestError("found more than one prompt", "this command takes a single prompt")
        return prompts[0] if prompts else None
