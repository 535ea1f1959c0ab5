"""What `generate` with a MusicGen model and `edit` have in common: requests, checks, the run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.formats.limits import most_frames, require_frames
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.cli.delivery import Delivery
from soundloom.cli.opening import confirmation, named_entry
from soundloom.cli.options.groups import (
    ModelOptions,
    OutputOptions,
    PrecisionOptions,
    SeedOptions,
    TokenSamplingOptions,
)
from soundloom.cli.options.requests import spread_requests
from soundloom.cli.options.unused_flags import warn_of_unused_flags
from soundloom.cli.outputs import output_paths
from soundloom.config.catalogue import require_entry
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.parse import parse
from soundloom.engines.registry import music_engine_class, require_device
from soundloom.errors import RequestError, printable, shown
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.musicgen.run import make_jobs
from soundloom.text.instructions import normalize_instruction

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MusicOptions(SeedOptions, TokenSamplingOptions, ModelOptions, PrecisionOptions, OutputOptions):
    """All flags of a command that runs MusicGen, but its own."""


def require_absent(options: MusicOptions, model: str, names: Iterable[str]) -> None:
    """Raise RequestError where one of the named flags was given, which the model has no use for."""
    known = {field.name: field for field in fields(options)}
    given = [name for name in names if getattr(options, name) != known[name].default]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise RequestError(f"{model} has no use for {flags}", "leave them out; `soundloom models` lists the models")


def compose(options: MusicOptions, prompts: Sequence[str], seconds: Sequence[float], record: Mapping[str, Any]) -> None:
    """Make music from words by the flags of `generate`; `record` is what a clip to be repeated says of itself."""
    if record.get("mode") == "edit":
        raise RequestError("an edit cannot be repeated without the sound it was made from", "use `soundloom edit`")
    base = MusicRequest.from_record(record.get("request") or {}, **_drawing(options))
    requests = spread_requests(base, options, {"prompt": prompts, "seconds": seconds})
    carry_out({None: requests}, options, options.model_name, record.get("model_hash"))


def _drawing(options: MusicOptions) -> dict[str, Any]:
    """The fields of a request that the flags of drawing and guidance set."""
    return options.token_sampling() | ({} if options.cfg is None else {"guidance": options.cfg})


def edit_requests(options: MusicOptions, base: MusicRequest, instructions: Sequence[str]) -> list[MusicRequest]:
    """A request for each instruction and seed. Raises RequestError."""
    return spread_requests(replace(base, **_drawing(options)), options, {"prompt": instructions})


def carry_out(
    requests_by_file: Mapping[Path | None, Sequence[MusicRequest]],
    options: MusicOptions,
    name: str,
    expected_hash: str | None = None,
) -> None:
    """Make clips with the named model, save them, print their paths.

    `requests_by_file` has the requests for each file to edit; files are read here, one at a time.
    """
    config = known_config(name)
    paths = _checked(requests_by_file, options, name, config)
    total = sum(map(len, paths.values()))
    with Delivery(options, total) as delivery:
        for text, words in _understood(requests_by_file, config).items():
            delivery.watch.say(f"'{shown(words)}' is understood as '{shown(text)}'")
        model = open_model(options, name)
        if expected_hash not in (None, model.checkpoint.fingerprint):
            log.warning("the weights of %s are not those that made the file; the sound will differ", model.name)
        keep_loaded, done = model.keep_loaded, 0
        for file, requests in requests_by_file.items():
            model.keep_loaded = keep_loaded or done + len(requests) < total
            about = _about_sound(requests, Clip.load(file)) if file else requests  # one sound in memory at a time
            made = model.iter(about, progress=delivery.watch)
            delivery.save(made, paths[file], first=done)
            done += len(requests)


def _checked(
    requests_by_file: Mapping[Path | None, Sequence[MusicRequest]],
    options: MusicOptions,
    name: str,
    config: MusicGenConfig,
) -> dict[Path | None, list[Path]]:
    """Where the clips of each file go, once nothing speaks against making and writing them. Raises RequestError."""
    paths = {}
    for file, own in requests_by_file.items():
        requests = _about_sound(own, _looked_at(file)) if file else list(own)
        make_jobs(requests, config)  # raises for what this model cannot do
        paths[file] = output_paths(requests, options, config.sample_rate, name, file)
        if len(paths) == 1:
            warn_of_unused_flags(options, requests[0], paths[file][0])
    if len({path for own in paths.values() for path in own}) < sum(map(len, paths.values())):
        raise RequestError("several sounds would be written to one file", "name a folder with -o, or edit them apart")
    return paths


def _looked_at(file: Path) -> Clip:
    """A sound to edit, whose samples stay in the file. Raises AudioError, also where `Clip.load` would."""
    clip = StreamedClip.open(file)
    most = most_frames(file.stat().st_size, clip.channels)
    require_frames(printable(file), clip.samples, clip.sample_rate, most)
    return clip


def _about_sound(requests: Sequence[MusicRequest], clip: Clip) -> list[MusicRequest]:
    """The requests with the sound that they edit."""
    return [replace(request, source=clip) for request in requests]


def _understood(
    requests_by_file: Mapping[Path | None, Sequence[MusicRequest]], config: MusicGenConfig
) -> dict[str, str]:
    """What instructions are understood as, where that is not what they say."""
    known = config.instruct.instruments if config.instruct else ()
    told = {
        normalize_instruction(request.prompt, known).text: request.prompt
        for file, requests in requests_by_file.items()
        for request in requests
        if file is not None and not request.raw
    }
    return {text: words for text, words in told.items() if text != words}


def known_config(name: str) -> MusicGenConfig:
    """The configuration of a MusicGen model, for a named one without a download. Raises RequestError for others."""
    if not is_music(name):
        if not Path(name).exists():
            require_entry(name.partition("@")[0])  # which names near misses where there is no such model
        raise RequestError(f"{name} is not a MusicGen model", "take instruct-musicgen to edit, musicgen-small to make")
    entry = named_entry(name)
    return parse(MusicGenConfig, entry.config()) if entry else open_music(name).config


def open_model(options: MusicOptions, name: str) -> MusicModel:
    """Open the model, after a download if it has to be; in a terminal its license is asked about."""
    require_device(options.engine, options.device)
    checkpoint = open_music(
        name,
        revision=options.revision,
        offline=options.offline,
        accept_license=options.accept_license,
        confirm=confirmation(),
    )
    engine = music_engine_class(options.engine)(checkpoint, options.device, options.transformer_precision)
    return MusicModel(checkpoint, engine, keep_loaded=not options.free_models, keep_bad=options.keep_bad)
