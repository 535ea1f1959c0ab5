"""`soundloom generate`: generate clips from text, or edit one with --init-audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.checkpoints.musicgen.fetch import is_music
from soundloom.cli.execute import execute
from soundloom.cli.loading import known_generator, named_entry
from soundloom.cli.music import generate_music
from soundloom.cli.options.finish import with_recorded_finish
from soundloom.cli.options.flags import Extend, flag, numbers
from soundloom.cli.options.generation import GenerationOptions, MusicOptions
from soundloom.cli.options.loops import LoopOptions, RhythmOptions
from soundloom.cli.options.prompts import expand_prompts, join_loose_words
from soundloom.cli.options.requests import build_requests
from soundloom.cli.options.sampling import TokenSamplingOptions
from soundloom.cli.options.shared import (
    PRECISIONS,
    crossfade_flag,
    noise_flag,
    prompt_flag,
    require_length,
    seconds_flag,
)
from soundloom.cli.options.templates import WrittenPromptOptions, with_surprises
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.config.stable_audio.rhythm import DEFAULT_METER, bar_seconds
from soundloom.errors import RequestError, printable, shown
from soundloom.pipeline.provenance import recorded_settings
from soundloom.pipeline.stable_audio.plan import default_seconds, plan
from soundloom.pipeline.stable_audio.tempo import known_tempo

VARIATION_NOISE = 0.6
_MUSIC_FLAGS = {
    *(field.name for field in fields(MusicOptions)),
    *("positional_prompts", "prompt", "seconds", "like", "chunked_decode", "surprise"),
}


@dataclass(frozen=True)
class Options(RhythmOptions, LoopOptions, WrittenPromptOptions, MusicOptions, GenerationOptions):
    """Generate audio from text prompts, or edit an audio file with --init-audio.

    soundloom generate "kick drum loop, 129 BPM" --seconds 4 --seed 7 -o kick.wav
    """

    positional_prompts: Sequence[str] = flag(
        default=(),
        nargs="*",
        metavar="PROMPT",
        help="what to generate, one clip per prompt; @FILE reads a prompt per line, - reads stdin, @@ escapes an @",
    )
    prompt: Sequence[str] = prompt_flag(help="same as PROMPT; repeatable")
    seconds: Sequence[float] = seconds_flag(
        default=(),
        action=Extend,
        type=numbers(float),
        help="total length, also with --init-audio; one for all clips, or one per clip: 8,3 (default: 4 for mini, 10 "
        "for MusicGen, else 30, or as --init-audio)",
    )
    init_audio: str | None = flag(
        "--init-audio",
        "--inpaint-audio",
        metavar="FILE",
        help="audio to edit: regenerate regions, extend it to --seconds, or else vary all of it",
    )
    noise: float | None = noise_flag(
        help="strength of the change to --init-audio, 0.01 to 1 (default: 0.6 for a variation, else 1)"
    )
    crossfade: float | None = crossfade_flag()
    like: str | None = flag("--like", metavar="FILE", help="reuse the settings in this file's metadata; flags override")

    def rhythm(self) -> dict[str, Any]:
        """Return the fields of a request that the flags of tempo and loops set."""
        given = {
            "bpm": self.bpm,
            "meter": None if self.meter == DEFAULT_METER else self.meter,
            "loop": self.loop or None,
            "seam": self.seam,
            "passes": False if self.no_passes else None,
        }
        return {name: value for name, value in given.items() if value is not None}


def run(options: Options) -> None:
    record = _record(options.like) if options.like else {}
    # --like needs the model and precision of the original.
    options = replace(
        options,
        model=options.model or _recorded_model(options.like, record),
        precision=options.precision or (None if options.no_half else _recorded_precision(options.like, record)),
    )
    options = with_recorded_finish(options, record)
    prompts = expand_prompts([*_words(options), *options.prompt])
    options.require_no_settings(prompts)
    if not (prompts or record or options.init_audio or options.writes_prompts):
        raise RequestError("there is no prompt", 'soundloom generate "kick drum loop, 129 BPM"')
    if not options.init_audio and not all(prompt.strip() for prompt in prompts):
        raise RequestError("a prompt is empty", 'say what to generate: soundloom generate "kick drum loop, 129 BPM"')
    if is_music(options.model_name):
        _require_absent(options, [field.name for field in fields(options) if field.name not in _MUSIC_FLAGS])
        if options.surprise:
            options, prompts = with_surprises(options, options.model_name, ())
        generate_music(options, prompts, options.seconds, record)
        return
    _require_absent(options, tuple(field.name for field in fields(TokenSamplingOptions)))
    name, config = known_generator(options)
    if options.surprise:
        options, prompts = with_surprises(options, name, config.sound_names)
    prompts = options.templated(name, prompts, is_mini=bool(config.sound_names))
    base = _base(options, record, prompts)
    if base.source is not None and not (prompts or record):
        base = replace(base, **recorded_settings(base.source, options.model_name))
    bars = options.bar_count()
    if options.loop and options.snap_tempo is not None:
        raise RequestError(
            "--snap-tempo would stretch the seam of a loop",
            "generate without --loop, then `soundloom loop --snap-tempo`",
        )
    lengths: dict[str, Sequence[Any]] = {"seconds": options.seconds}
    if bars is not None:
        lengths = {"bars": [bars], "seconds": [None]}
    requests = build_requests(base, options, config, name, {"prompt": prompts, **lengths})
    files = {base.source: Path(options.init_audio)} if base.source and options.init_audio else {}
    execute(plan(requests, config, default_seconds(name)), options, files, record.get("model_hash"))


def _require_absent(options: Options, names: Iterable[str]) -> None:
    """Raise RequestError for named flags that were given and have no meaning for the model."""
    known = {field.name: field for field in fields(options)}
    given = [name for name in names if getattr(options, name) != known[name].default]
    if given:
        flags = ", ".join(next(flag for flag in known[name].metadata["names"] if flag[:2] == "--") for name in given)
        raise RequestError(
            f"{options.model_name} has no use for {flags}", "leave them out; `soundloom models` lists the models"
        )


def _words(options: Options) -> list[str]:
    """Return the prompts that were given without a flag."""
    count = len(options.positional_prompts)
    are_separate = count in (len(options.seconds), len(options.seed), len(options.negative_prompt))
    return join_loose_words(options.positional_prompts, "soundloom generate", are_separate)


def _record(path: str) -> dict[str, Any]:
    """Return the metadata of a file that soundloom generated. Raises RequestError for other files."""
    if not Path(path).is_file():
        raise RequestError(f"--like: there is no file {printable(path)}")
    record = read_record(path) or {}
    if not record.get("request"):
        raise RequestError(
            f"{printable(path)} has no request in its metadata", "--like needs a file that soundloom generated"
        )
    return record


def _recorded_model(path: str | None, record: dict[str, Any]) -> str | None:
    """Return the model in the metadata of a file. Raises RequestError unless the catalogue has it."""
    name = record.get("model")
    if name is not None and named_entry(name) is None:
        raise RequestError(
            f"{printable(path)} was generated with an unknown model called {shown(name)}",
            f"pass its folder with --model; the hash of its weights is {shown(record.get('model_hash'))}",
        )
    return name


def _recorded_precision(path: str | None, record: dict[str, Any]) -> str | None:
    name = record.get("precision")
    if name is not None and name not in PRECISIONS:
        raise RequestError(
            f"{printable(path)} was generated with an unknown precision {shown(name)}",
            f"choose one with --precision: {', '.join(PRECISIONS)}",
        )
    return name


def _recorded_request(options: Options, record: dict[str, Any]) -> dict[str, Any]:
    """Return the request in a record, with the tempo, meter and loop of the flags; lengths of flags replace its own."""
    found = {**record.get("request", {}), **options.rhythm()}
    bars = options.bar_count()
    if bars is not None and options.seconds:
        raise RequestError("--bars and --seconds are both lengths", "give one of them")
    if bars is not None or options.seconds:
        found.pop("bars", None)
    if bars is not None or "bars" in found:
        found.pop("seconds", None)  # the bars say it
    return found


def _base(options: Options, record: dict[str, Any], prompts: Sequence[str]) -> GenerationRequest:
    """Return the recorded request, updated by all flags but prompts, lengths and seeds."""
    clip: Clip | None = StreamedClip.open(options.init_audio) if options.init_audio else None
    mode = record.get("mode", "generate")
    if mode != "generate" and clip is None:
        raise RequestError(
            f"{printable(options.like)} is an edit (mode {shown(mode)}) of another file",
            "pass that file with --init-audio",
        )
    request = GenerationRequest.from_record(_recorded_request(options, record), clip)
    for length in options.seconds:
        require_length(length)
    seconds = max(options.seconds, default=request.seconds)
    if clip is not None and (bars := options.bar_count()) is not None:
        bpm = known_tempo(options.bpm, *prompts, record=record)
        seconds = None if bpm is None else bar_seconds(bars, bpm, options.meter)
    regions = tuple(options.regions())
    noise = options.noise
    if clip is not None:
        if len(set(options.seconds)) > 1:
            raise RequestError("--init-audio takes a single length of --seconds")
        samples = round(seconds * clip.sample_rate) if seconds else clip.samples
        if mode == "generate" and not (regions or request.loop) and samples <= clip.samples and noise is None:
            noise = VARIATION_NOISE
        clip = clip.cut(0, max(1, samples))
    given: dict[str, Any] = {
        "seconds": seconds,
        "source": clip,
        "noise": noise,
        "crossfade": options.crossfade,
        "regions": regions or None,
    }
    return replace(request, **{name: value for name, value in given.items() if value is not None})
