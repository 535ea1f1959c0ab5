"""The flags that several commands share, each group with what it means for a request.

Both published spellings of a flag are accepted everywhere.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from soundloom.cli.options.flags import Extend, Span, ends, flag, numbers, span, switch
from soundloom.config.stable_audio.model import DEFAULT_SAMPLING_SHIFT, ModelConfig, ShiftConfig
from soundloom.config.stable_audio.request import COMPAT, SAMPLER_NAMES, Compat, Guidance, bars, sampler_name
from soundloom.errors import RequestError, shown
from soundloom.pipeline.stable_audio.plan import BASE_GUIDANCE

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8", "fp8")
SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}


def require_length(seconds: float) -> None:
    """Raise RequestError for a value of --seconds that is no length."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise RequestError(f"--seconds must be a number above 0, found {seconds:g}")


@dataclass(frozen=True)
class ModelOptions:
    """Model and machine."""

    model: str | None = flag(
        *("--model", "--dit"),
        metavar="NAME",
        help="a name from `soundloom models`, a folder or a file (default: mini, which comes with soundloom, and "
        "instruct-musicgen for `soundloom edit`)",
    )
    engine: str = flag("--engine", default="auto", metavar="NAME", help="auto, torch or mlx")
    device: str | None = flag("--device", metavar="NAME", help="cpu, cuda, mps, gpu (default: the best there is)")
    revision: str | None = flag("--revision", metavar="COMMIT", help="another commit than the pinned one")
    offline: bool | None = flag("--offline", action="store_true", help="download nothing")
    accept_license: bool = switch(
        "--accept-license", "--accept-licence", help="accept the license of the weights that are downloaded"
    )

    @property
    def model_name(self) -> str:
        return self.model or "mini"


@dataclass(frozen=True)
class PrecisionOptions:
    """Precision and memory."""

    precision: str | None = flag(
        *("--precision", "--dit-dtype"),
        choices=PRECISIONS,
        help="of the transformer (default: auto, fp16 on GPUs, on CPUs what they multiply natively)",
    )
    no_half: bool = switch("--no-half", help="the same as --precision fp32")
    free_models: bool = flag(
        "--free-models",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="let each network leave memory when its work is done (default: yes)",
    )

    @property
    def transformer_precision(self) -> str:
        if self.no_half and self.precision not in (None, "fp32"):
            raise RequestError(f"--no-half is --precision fp32, and --precision {self.precision} was given too")
        return "fp32" if self.no_half else self.precision or "auto"


@dataclass(frozen=True)
class AutoencoderOptions:
    """Autoencoder."""

    decoder: str | None = flag(
        "--decoder", choices=("same-s", "same-l"), help="must be the autoencoder that the model was trained with"
    )
    chunked_decode: bool = flag(
        "--chunked-decode",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="accepted for compatibility: long sounds are always decoded in pieces, with the result of one pass",
    )

    def check_decoder(self, name: str, config: ModelConfig) -> None:
        """Raise RequestError where another autoencoder is asked for than the model's latents belong to."""
        own = "same-s" if config.same.decoder.config.sliding_window is None else "same-l"
        if self.decoder not in (None, own):
            raise RequestError(
                f"{name} makes latents for {own}, and --decoder asks for {self.decoder}", f"leave it out or give {own}"
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
        help="one for all clips, counting up, or one for each prompt: 7,20 (default and -1: drawn, and reported)",
    )
    count: int = flag(
        *("--count", "--batch-size"),
        default=1,
        type=int,
        metavar="N",
        help="so many clips of each prompt, seeds counting up",
    )
    cfg: float | None = flag(
        *("--cfg", "--cfg-scale", "--guidance"),
        type=float,
        metavar="SCALE",
        help="classifier-free guidance; 1 turns it off (default: 1, 7 for base models, 3 for MusicGen)",
    )


@dataclass(frozen=True)
class SamplingOptions(SeedOptions):
    """Sampling."""

    negative_prompt: Sequence[str] = flag(
        "--negative-prompt",
        default=(),
        action="append",
        metavar="TEXT",
        help="what to keep away from; needs --cfg above 1",
    )
    steps: int | None = flag("--steps", type=int, metavar="N", help="default: 8, or 50 for base models")
    sampler: str | None = flag(
        "--sampler", metavar="NAME", help=f"{', '.join(SAMPLER_NAMES)} (default: pingpong, or euler for base models)"
    )
    apg: float | None = flag(
        "--apg",
        type=float,
        metavar="SHARE",
        help="adaptive projected guidance: 1 keeps only the orthogonal part (default: 1)",
    )
    cfg_interval: tuple[float, float] | None = flag(
        "--cfg-interval", type=span, metavar="LO,HI", help="times at which guidance acts (default: 0,1)"
    )
    cfg_rescale: float | None = flag("--cfg-rescale", type=float, metavar="SHARE", help="default: 0")
    cfg_norm_threshold: float | None = flag(
        "--cfg-norm-threshold", type=float, metavar="NORM", help="largest norm of the guidance (default: 0, no limit)"
    )
    shift: Literal["logsnr", "flux", "full", "none"] | None = flag(
        "--shift", choices=("logsnr", "flux", "full", "none"), help="how time steps are spread (default: the model's)"
    )
    duration_padding: float | None = flag(
        "--duration-padding", type=float, metavar="S", help="made behind the clip and cut off (default: 6)"
    )
    strict_words: bool = switch(
        "--strict-words", help="refuse a prompt that names no sound which the model knows (models that tell, as mini)"
    )
    compat: str | None = flag("--compat", choices=tuple(COMPAT), help="behave like another implementation")

    def changes(self, base: Guidance | None, config: ModelConfig) -> dict[str, Any]:
        """The fields of a request that these flags set; what was not given is absent."""
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
class DrawingOptions:
    """Drawing the codes of MusicGen."""

    temperature: float | None = flag(
        "--temperature", type=float, metavar="T", help="0 takes the likeliest codes, more is bolder (default: 1)"
    )
    top_k: int | None = flag(
        "--top-k", type=int, metavar="N", help="draw from the N likeliest (default: 250, or 100 for edits; 0: all)"
    )
    top_p: float | None = flag(
        "--top-p", type=float, metavar="SHARE", help="draw from the likeliest of this share instead (default: 0, off)"
    )

    def drawing(self) -> dict[str, Any]:
        """What was given of these flags, as fields of a request."""
        given = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class RegionOptions:
    """Regions, in seconds or in bars and beats."""

    region: Sequence[Span] = flag(
        *("--region", "--inpaint-range"),
        default=(),
        action="append",
        type=span,
        metavar="START,END",
        help="seconds to make anew, such as 4,7 or 4-7; may be repeated",
    )
    inpaint_start: Sequence[float] = flag(
        "--inpaint-start",
        default=(),
        action="append",
        type=float,
        metavar="START",
        help="with --inpaint-end; may be repeated",
    )
    inpaint_end: Sequence[float] = flag("--inpaint-end", default=(), action="append", type=float, metavar="END")
    bars: Sequence[str] = flag(
        "--bars",
        default=(),
        action="append",
        metavar="FROM-TO",
        help="from the start of one bar to the start of another: 3-5 or 3,5 is bars 3 and 4, 3.2 the second beat of 3",
    )
    bpm: float | None = flag("--bpm", type=float, metavar="TEMPO", help="beats in a minute, for --bars")
    meter: str = flag("--meter", default="4/4", metavar="N/M", help="beats in a bar, for --bars (default: 4/4)")

    def regions(self) -> list[Span]:
        """All regions in seconds."""
        if len(self.inpaint_start) != len(self.inpaint_end):
            raise RequestError(
                f"{len(self.inpaint_start)} --inpaint-start and {len(self.inpaint_end)} --inpaint-end do not make pairs"
            )
        if self.bpm is not None and not self.bars:
            raise RequestError("--bpm counts beats for --bars, and there are none", "say a tempo in the prompt")
        pairs = list(zip(self.inpaint_start, self.inpaint_end, strict=True))
        return [*self.region, *pairs, *(self._bars(text) for text in self.bars)]

    def _bars(self, text: str) -> Span:
        places = ends(text)
        beats, slash, unit = self.meter.partition("/")
        if places is None:
            raise RequestError(f"'{shown(text)}' does not say from where to where", "--bars 3-5 is bars 3 and 4")
        if not (slash and beats.isdecimal() and unit.isdecimal()):
            raise RequestError(f"'{shown(self.meter)}' is not a meter", "--meter 3/4 has three beats in a bar")
        if self.bpm is None:
            raise RequestError("--bars needs the tempo", "give --bpm 120")
        return bars(*places, self.bpm, int(beats))


@dataclass(frozen=True)
class OutputOptions:
    """Output."""

    out: str | None = flag(
        *("-o", "--out"),
        metavar="FILE",
        help="WAV, FLAC, OGG or MP3, or a folder; {prompt}, {seed}, {n} and {model} are filled in, else several clips "
        "get _0, _1 … (default: named by prompt and seed)",
    )
    subtype: str | None = flag("--subtype", "--bits", choices=tuple(SUBTYPES), help="default: 24, or as the source")
    rate: int | None = flag("--rate", type=int, metavar="HZ", help="default: 44100, or as the source")
    channels: int | None = flag(
        "--channels", type=int, choices=(1, 2), help="1 mixes to mono (default: 2, or as the source)"
    )
    lufs: float | None = flag("--lufs", type=float, metavar="TARGET", help="bring to this loudness, such as -14")
    true_peak: float | None = flag("--true-peak", type=float, metavar="DBTP", help="limit for --lufs (default: -1)")
    peak: Literal["safe", "clip"] = flag(
        "--peak", default="safe", choices=("safe", "clip"), help="beyond full scale: turn down (default), or cut"
    )
    sidecar: bool = switch("--sidecar", help="also write the record of how it was made as NAME.json")
    overwrite: bool | None = flag(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        help="replace files, even the edited one (default: only those named with --out)",
    )
    keep_bad: bool = switch("--keep-bad", help="save also what is not usable sound: silence, static, far too loud")
    play: bool = switch("--play", help="play what was made")
    json: bool = switch("--json", help="print one JSON object instead of the paths")
    quiet: bool = switch("-q", "--quiet", help="no progress and no summary")

    @property
    def sample_type(self) -> str | None:
        return SUBTYPES[self.subtype] if self.subtype else None


@dataclass(frozen=True)
class EditOptions:
    """The sound to edit."""

    input: str = flag(metavar="IN", help="a sound file; its rate, channels and bit depth are kept")
    words: str | None = flag(
        metavar="PROMPT", nargs="?", help="what to hear (default: the prompt that made IN, where IN says so)"
    )
    prompt: str | None = flag("-p", "--prompt", metavar="TEXT", help='the same as PROMPT; "" is no prompt')
    crossfade: float | None = flag(
        "--crossfade", type=float, metavar="SECONDS", help="at each border, inside what is new (default: 0.01)"
    )
    trim: tuple[float, float] | None = flag(
        "--trim", type=span, metavar="START,END", help="edit these seconds of the sound alone, such as 1,4"
    )

    @property
    def text(self) -> str | None:
        """The prompt, empty where an edit is left to what surrounds it, or None where none was given."""
        if self.words is not None and self.prompt is not None:
            raise RequestError("the prompt was given twice, as PROMPT and with --prompt")
        return self.prompt if self.words is None else self.words
