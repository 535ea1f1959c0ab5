"""`soundloom loop`: make sound files repeat without a break."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.formats.containers import CONTAINERS
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.audio.stretch import on_grid
from soundloom.cli.execute import execute
from soundloom.cli.loading import known_generator
from soundloom.cli.options.flags import flag
from soundloom.cli.options.generation import GenerationOptions
from soundloom.cli.options.requests import build_requests
from soundloom.cli.options.shared import (
    bars_flag,
    bpm_flag,
    crossfade_flag,
    meter_flag,
    model_flag,
    prompt_flag,
    seam_flag,
)
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.config.stable_audio.rhythm import DEFAULT_METER
from soundloom.errors import RequestError, printable
from soundloom.pipeline.provenance import recorded_model, recorded_settings
from soundloom.pipeline.stable_audio.plan import default_seconds, plan
from soundloom.pipeline.stable_audio.tempo import first_bars, known_tempo, recorded_bars


@dataclass(frozen=True)
class Options(GenerationOptions):
    """Make sound files repeat without a break: generate their seams once more, and preserve all other samples.

    soundloom loop rain.wav wind.wav

    Loop points are stored in the files; with a tempo, so are tempo and beats.
    """

    input: str = flag(metavar="IN", help="an audio file; more may follow")
    more: Sequence[str] = flag(
        default=(), nargs="*", metavar="PROMPT", help="what the sound is (default: the prompt in the metadata of IN)"
    )
    prompt: Sequence[str] = prompt_flag(help='same as PROMPT; "" is an empty prompt')
    model: str | None = model_flag(
        help="a name from `soundloom models`, a folder, or a file (default: the model in the metadata of IN, else mini)"
    )
    bars: float | None = bars_flag(type=float, metavar="N", help="loop the first bars of IN only, exact to the sample")
    bpm: float | None = bpm_flag(help="tempo of IN (default: the one in its metadata, or that the prompt names)")
    meter: str = meter_flag(default=DEFAULT_METER, help="time signature, for --bars")
    seam: float | None = seam_flag()
    crossfade: float | None = crossfade_flag()


def run(options: Options) -> None:
    files, text = _files_and_prompt(options)
    options.check_tempo()
    clips: dict[Clip, Path] = {options.snapped(StreamedClip.open(file)): file for file in files}
    snap = options.snap_tempo  # of the sources, since a stretched seam would be audible
    options = replace(options, model=options.model or _recorded_model(clips), snap_tempo=None)
    name, config = known_generator(options)
    requests: list[GenerationRequest] = []
    sources: dict[Clip, Path] = {}
    for clip, file in clips.items():
        settings = recorded_settings(clip, options.model_name) if text is None else {"prompt": text}
        bpm = known_tempo(options.bpm, settings["prompt"], record=clip.record)
        if snap is not None and not isinstance(clip, StreamedClip):  # a clip that could be snapped is in memory
            bpm = snap if bpm is None else on_grid(snap, bpm)
        bars, meter = recorded_bars(clip, bpm) if options.bars is None else (options.bars, options.meter)
        source = first_bars(clip, bars, bpm, meter)
        sources[source] = file
        rhythm = {"bars": bars, "bpm": bpm, "meter": meter}
        requests += build_requests(_loop_of(source, options, rhythm | settings), options, config, name)
    execute(plan(requests, config, default_seconds(name)), options, sources)


def _loop_of(source: Clip, options: Options, fields: Mapping[str, Any]) -> GenerationRequest:
    flags: dict[str, Any] = {"seam": options.seam, "crossfade": options.crossfade}
    given = {name: value for name, value in flags.items() if value is not None}
    return GenerationRequest(source=source, loop=True, **fields, **given)


def _files_and_prompt(options: Options) -> tuple[list[Path], str | None]:
    """Tell files from the prompt: a word is one or the other by whether it exists. Raises RequestError."""
    words = [options.input, *options.more]
    files = [Path(word) for word in words if Path(word).is_file() or word == options.input]
    texts = [*(word for word in words if Path(word) not in files), *options.prompt]
    for text in texts:
        if Path(text).suffix.lower() in CONTAINERS:
            raise RequestError(f"there is no file {printable(text)}")
    if len(texts) > 1:
        raise RequestError(f"found {len(texts)} prompts", "this command takes a single prompt")
    return files, texts[0] if texts else None


def _recorded_model(clips: Iterable[Clip]) -> str | None:
    """Return the model that generated the files, if any. Raises RequestError if there are several."""
    models = {recorded_model(clip) for clip in clips}
    if len(models) > 1:
        raise RequestError("the files were generated by different models", "choose one with --model")
    return models.pop()
