"""Requests to Stable Audio models, validated on construction and independent of engines and files.

Limits that depend on the model, such as the longest clip, are checked during planning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from soundloom.config.options import guess_option
from soundloom.config.parse import parse
from soundloom.config.prompt_facts import prompt_bpm
from soundloom.config.stable_audio.adapters import AdapterStack, Mode
from soundloom.config.stable_audio.mix import DEFAULT_MIX, Mix, check_mix
from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.config.stable_audio.rhythm import DEFAULT_METER, bar_seconds, require_bpm, split_meter
from soundloom.config.values import as_float, coerce
from soundloom.errors import ConfigError, RequestError, shown
from soundloom.prompts import Style, parse_weights

if TYPE_CHECKING:
    from soundloom.audio.clip import Clip

SAMPLER_NAMES = ("pingpong", "euler", "heun", "rk4", "dpmpp-2m", "dpmpp-3m-sde")
SAMPLER_ALIASES = {"dpmpp": "dpmpp-2m"}  # the name in the published package
SEED_LIMIT = 2**63
MAX_STEPS = 10_000
MAX_SECONDS = 86_400.0  # a day, for any request; models have their own limits
MIN_NOISE = 0.01  # models are not trained on smaller times
Region = tuple[float, float]


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance; a scale of 1 disables it. `diffusion.guidance` has the formulas."""

    scale: float = 1.0
    apg: float = 1.0  # 1 keeps only the component orthogonal to the clean estimate, 0 keeps all
    interval: tuple[float, float] = (0.0, 1.0)  # range of times with guidance
    rescale: float = 0.0  # strength of rescaling to the unguided standard deviation
    norm_threshold: float = 0.0  # largest norm of the guidance; 0 means no limit

    def __post_init__(self) -> None:
        coerce(self, (), ("scale", "apg", "rescale", "norm_threshold"))
        _finite("guidance scale", self.scale)
        _within("apg", self.apg, 0, 1)
        _within("rescale", self.rescale, 0, 1)
        if not isinstance(self.interval, list | tuple) or len(self.interval) != 2:
            raise RequestError(f"the guidance interval must be a lowest and highest time, found {shown(self.interval)}")
        low, high = (as_float("a bound of the guidance interval", bound) for bound in self.interval)
        object.__setattr__(self, "interval", (low, high))
        if not 0 <= low <= high <= 1:
            raise RequestError(f"the guidance interval must be ascending within 0 to 1, found {low:g} to {high:g}")
        if not self.norm_threshold >= 0:
            raise RequestError(f"the norm threshold must be 0 or more, found {self.norm_threshold:g}")


@dataclass(frozen=True)
class Compat:
    """Deliberate differences from published code, and options for that code's behavior."""

    schedule: Literal["scaled", "published"] = "scaled"  # of variations: see diffusion.schedules
    padding: Literal["exact", "mask", "zero-values"] = "exact"  # exact: no padded frames
    lengths: Literal["padded", "compact"] = "padded"  # padded: generate silence after the clip and trim it
    frame_rule: Literal["cover", "ceil", "round"] = "cover"  # which frames a region regenerates
    negative_padding: Literal["zero", "learned"] = "zero"  # padding rows of a negative prompt
    keep: Literal["samples", "latents", "learned"] = "samples"  # how an edit preserves the source
    chunks: Literal["exact", "published", "mlx"] = "exact"  # how long latents are split for the autoencoder
    batch: Literal["grouped", "shared"] = "grouped"  # shared: all clips of a batch as long as the longest
    resampler: Literal["soxr", "published"] = "soxr"
    codec_noise: bool = False  # noise that the package adds inside the autoencoder
    loras: Mode = "fade"  # what strengths of adapters mean: see `AdapterUse`; `linear` also sums adapters
    weights: Style = "nested"  # which parentheses of prompts are weights: see soundloom.prompts

    @classmethod
    def named(cls, name: str) -> Compat:
        """Return the behavior of a published system: `stable-audio-3`, `stable-audio-3-cpu` or `mlx`."""
        if name not in COMPAT:
            raise RequestError(f"no compatibility mode named {name!r}", f"use {', '.join(COMPAT)}")
        return COMPAT[name]


_PACKAGE = Compat(
    "published", "mask", "padded", "ceil", "zero", "learned", "published", "shared", "published", True, "full", "none"
)
COMPAT = {
    "soundloom": Compat(),
    "stable-audio-3": _PACKAGE,
    "stable-audio-3-cpu": replace(_PACKAGE, padding="zero-values"),
    "mlx": Compat(
        *("published", "exact", "compact", "round", "learned", "latents", "mlx", "grouped", "published", False),
        *("linear", "flat"),
    ),
}


@dataclass(frozen=True)
class GenerationRequest:
    """One clip to generate, or one edit of `source`.

    Without a source: text to audio of `seconds`. With a source but without regions: a variation that starts at
    `noise`. With regions, in seconds of the result: these are regenerated, from noise or, with `noise` below 1, from
    the source. `seconds` beyond the source's length continues it; `offset` moves the source and generates audio before
    it. None means the model's default; a seed of None is chosen at random and reported.

    Phrases of prompts may be weighted: `(warm piano:1.3), rain`. With `prompt_b`, the clip follows both prompts: `mix`
    is the share of the second, or points (seconds of the result, share) of a curve; None means 0.5.

    `bars` of `meter` at `bpm` set the length instead of `seconds`. With `loop`, `seam` seconds around the end and the
    start are generated once more, as one region in the middle of the clip rotated by half, so that it repeats without
    a break; a loop of a source preserves the rest of it. Without `passes`, clips beyond the model's limit are an error.
    """

    prompt: str = ""
    negative_prompt: str | None = None
    seconds: float | None = None
    seed: int | None = None
    steps: int | None = None
    sampler: str | None = None
    guidance: Guidance | None = None
    shift: ShiftConfig | None = None
    source: Clip | None = None
    noise: float = 1.0
    regions: tuple[Region, ...] = ()
    offset: float = 0.0
    crossfade: float = 0.01  # seconds
    duration_padding: float = 6.0  # seconds of silence generated after the clip
    compat: Compat = field(default_factory=Compat)
    strict_words: bool = False  # reject prompts that name no known sound, for models that list theirs
    loras: AdapterStack | None = None  # None: those that were added to the model
    prompt_b: str | None = None
    mix: Mix | None = None
    bars: float | None = None
    bpm: float | None = None  # by default the one that the prompt names
    meter: str = DEFAULT_METER
    loop: bool = False
    seam: float = 0.5  # seconds
    passes: bool = True

    def __post_init__(self) -> None:
        require_text("a prompt", self.prompt)
        if self.negative_prompt is not None:
            require_text("a negative prompt", self.negative_prompt)
        numbers = ("seconds", "noise", "offset", "crossfade", "duration_padding", "bars", "bpm", "seam")
        coerce(self, ("seed", "steps"), numbers)
        for name, kind in _NESTED.items():
            value = getattr(self, name)
            if not isinstance(value, kind) and not (value is None and name != "compat"):
                raise RequestError(f"{name} must be a {kind.__name__}, found {type(value).__name__}")
        self._check_prompts()
        require_seconds("seconds", self.seconds)
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise RequestError(
                f"steps must be between 1 and {MAX_STEPS}, found {shown(self.steps)}",
                "distilled models need 8, others 50",
            )
        if self.seed is not None and not 0 <= self.seed < SEED_LIMIT:
            raise RequestError(f"a seed must be between 0 and {SEED_LIMIT - 1}, found {shown(self.seed)}")
        if self.sampler is not None:
            object.__setattr__(self, "sampler", sampler_name(self.sampler))
        _within("noise", self.noise, MIN_NOISE, 1)
        _within("crossfade", self.crossfade, 0, 10)
        _within("duration padding", self.duration_padding, 0, 60)
        object.__setattr__(self, "regions", check_regions(self.regions))
        self._check_rhythm()
        if self.source is None and (self.regions or self.noise != 1 or self.offset):
            raise RequestError(
                "regions, noise and offset need a source to edit",
                'edit a file: soundloom inpaint IN "a snare" --region 1,2',
            )
        if self.source is not None:
            self._check_source(self.source)

    def _check_prompts(self) -> None:
        if self.prompt_b is not None:
            require_text("the second prompt", self.prompt_b)
            object.__setattr__(self, "mix", check_mix(DEFAULT_MIX if self.mix is None else self.mix))
        elif self.mix is not None:
            raise RequestError("a mix needs a second prompt", "give prompt_b (--prompt-b), or leave out the mix")
        for text in (self.prompt, self.prompt_b, self.negative_prompt):
            parse_weights(text or "", self.compat.weights)

    @property
    def blend(self) -> tuple[str, str | None, Mix]:
        """The prompt, the second one if the clip follows both, and its share or curve."""
        if self.prompt_b is None or self.mix is None or self.mix == 0:
            return self.prompt, None, 0.0
        return (self.prompt_b, None, 0.0) if self.mix == 1 else (self.prompt, self.prompt_b, self.mix)

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts that the clip follows, without their weights."""
        first, second, _ = self.blend
        return tuple(parse_weights(text, self.compat.weights).text for text in (first, second) if text is not None)

    def _check_rhythm(self) -> None:
        """Check tempo, meter and loop; take the tempo from the prompt, and the length from the bars."""
        split_meter(self.meter)
        for name in ("loop", "passes"):
            if not isinstance(getattr(self, name), bool):
                raise RequestError(f"{name} must be true or false, found {shown(getattr(self, name))}")
        _within("seam", self.seam, 0.02, 10)
        if self.bars is not None:
            bpm = prompt_bpm(self.prompt) if self.bpm is None else self.bpm
            if bpm is None:
                hint = 'name one tempo in the prompt, "…, 120 BPM", or give bpm (--bpm)'
                raise RequestError("a length in bars needs a tempo", hint)
            seconds = bar_seconds(self.bars, bpm, self.meter)
            if self.seconds is not None and abs(self.seconds - seconds) > 1e-6:
                raise RequestError(
                    f"{self.bars:g} bars of {self.meter} at {bpm:g} BPM last {seconds:g} s, not {self.seconds:g} s",
                    "give the length in bars or in seconds",
                )
            object.__setattr__(self, "bpm", bpm)
            object.__setattr__(self, "seconds", seconds)
        elif self.bpm is not None:
            require_bpm(self.bpm)
        if self.loop and (self.regions or self.noise != 1 or self.offset):
            raise RequestError("a loop has no regions, noise or offset", "edit the clip first, then loop the result")
        if self.loop and self.compat.keep != "samples":
            raise RequestError("published systems make no loops", "leave out compat")

    def _check_source(self, source: Clip) -> None:
        if not 0 <= self.offset <= MAX_SECONDS:
            raise RequestError(f"the offset must be between 0 and {MAX_SECONDS:g} s, found {self.offset:g}")
        end = self.offset + source.seconds
        total = max(self.seconds or 0.0, end)
        for start, stop in self.regions:
            if stop > total + 0.5 / source.sample_rate:
                raise RequestError(
                    f"region {start:g} to {stop:g} s ends after the clip, which is {total:g} s long",
                    f"end it at {total:g} s or earlier, or continue the clip first with extend",
                )

    def to_record(self) -> dict[str, Any]:
        """Return the request as JSON values, without its source and fields that have their default."""
        record: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "source" or value == item.default or value == Compat():
                continue
            record[item.name] = _plain(value)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: Clip | None = None) -> GenerationRequest:
        """Invert `to_record`; edits need their `source`. Raises RequestError for an invalid record."""
        values = fields_of_record(cls, record)
        for name, kind in _NESTED.items():
            if values.get(name) is not None:
                values[name] = _from_plain(kind, values[name], name)
        request = cls(**values, source=source)
        # A record may come from anywhere: it may choose among known adapters, but must not start a download.
        if request.loras is not None and not all(use.sha256 for use in request.loras.uses):
            raise RequestError("the record of a request names an adapter without its hash")
        return request


# Fields that hold a dataclass.
_NESTED: dict[str, type] = {"guidance": Guidance, "shift": ShiftConfig, "compat": Compat, "loras": AdapterStack}


def fields_of_record(cls: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record for a request of this class. Raises RequestError."""
    if not isinstance(record, Mapping):
        raise RequestError(f"the record of a request must be an object, found {shown(record)}")
    known = {item.name for item in fields(cls)} - {"source"}  # records never hold audio
    if unknown := set(record) - known:
        names = sorted(map(str, unknown))
        guesses = [guess for name in names if (guess := guess_option(name, known))]
        hint = f"did you mean {', '.join(guesses)}?" if guesses else f"fields: {', '.join(sorted(known))}"
        raise RequestError(f"the record holds unknown fields: {shown(', '.join(names))}", hint)
    return dict(record)


def _from_plain(kind: type, value: Any, name: str) -> Any:
    try:
        return parse(kind, value, name)
    except ConfigError as error:
        raise RequestError(f"the record of a request is invalid: {shown(error.args[0])}") from error


def require_text(name: str, value: Any) -> None:
    """Raise RequestError unless `value` is Unicode text."""
    if not isinstance(value, str):
        raise RequestError(f"{name} must be text, found {type(value).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RequestError(f"{name} must be Unicode text, found {shown(value)}", "was it typed in another encoding?")


def require_seconds(name: str, value: float | None) -> None:
    """Raise RequestError for a length that is not positive or too long."""
    if value is not None and not 0 < value <= MAX_SECONDS:
        raise RequestError(f"{name} must be a number above 0 and at most {MAX_SECONDS:g}, found {value:g}")


def sampler_name(name: str) -> str:
    """Return the canonical name of a sampler. Raises RequestError."""
    canonical = SAMPLER_ALIASES.get(name, name) if isinstance(name, str) else ""
    if canonical not in SAMPLER_NAMES:
        raise RequestError(f"no sampler named {shown(name)!r}", f"use {', '.join(SAMPLER_NAMES)}")
    return canonical


def check_regions(regions: Iterable[Sequence[float]]) -> tuple[Region, ...]:
    """Sort regions, and reject empty, reversed, overlapping or infinite ones."""
    try:
        ordered = sorted((float(start), float(end)) for start, end in regions)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(
            f"regions must be pairs of seconds, found {shown(regions)}", "[(1.0, 1.5), (3, 3.4)]"
        ) from error
    for start, end in ordered:
        if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
            raise RequestError(f"region {start:g} to {end:g} s must start at 0 or later and end after its start")
    for (_, end), (start, _) in pairwise(ordered):
        if start < end:
            raise RequestError(
                f"two regions overlap: one ends at {end:g} s, the next starts at {start:g} s", "merge them into one"
            )
    return tuple(ordered)


def bars(first: str | float, last: str | float, bpm: float, beats_per_bar: int = 4) -> Region:
    """Return the region from the start of one bar to the start of another, in seconds.

    Bars and beats count from 1; "3.2" is the second beat of the third bar. bars(3, 5, 120) is bars 3 and 4.
    """
    if not (math.isfinite(bpm) and bpm > 0) or beats_per_bar < 1:
        raise RequestError(f"bars need a tempo and at least one beat, found {bpm:g} BPM and {beats_per_bar} beats")
    start, end = (_beat(place, beats_per_bar) * 60 / bpm for place in (first, last))
    return check_regions([(start, end)])[0]


def _beat(place: str | float, beats_per_bar: int) -> float:
    """Return the number of beats before a position such as 3, "3.2" or "3.2.5" (half of the second beat)."""
    bar, _, beat = str(place).partition(".")
    try:
        bar_number, beat_number = int(bar), float(beat or 1)
    except ValueError:
        raise RequestError(f"{place!r} is not a bar or bar.beat such as 3 or 3.2") from None
    if bar_number < 1 or not 1 <= beat_number < beats_per_bar + 1:
        raise RequestError(f"{place!r} is not a valid position: bars start at 1 and have {beats_per_bar} beats")
    return (bar_number - 1) * beats_per_bar + beat_number - 1


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {
            item.name: _plain(getattr(value, item.name))
            for item in fields(value)
            if getattr(value, item.name) != item.default
        }
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise RequestError(f"{name} must be a number, found {value}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RequestError(f"{name} must be between {low:g} and {high:g}, found {value:g}")
