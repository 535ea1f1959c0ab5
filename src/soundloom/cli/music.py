"""Plan and execute the commands that run MusicGen: `generate` with a MusicGen model, and `edit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.formats.limits import max_frames, require_frames
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.execute import execute
from soundloom.cli.loading import known_model
from soundloom.cli.options.generation import MusicOptions
from soundloom.cli.options.requests import spread_requests
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.errors import RequestError, printable
from soundloom.pipeline.musicgen.plan import plan


def generate_music(
    options: MusicOptions, prompts: Sequence[str], seconds: Sequence[float], record: Mapping[str, Any]
) -> None:
    """Generate music by the flags of `generate`; `record` is that of a clip to repeat."""
    if record.get("mode") == "edit":
        raise RequestError("an edit cannot be repeated without its source", "use `soundloom edit`")
    base = MusicRequest.from_record(record.get("request") or {}, **_sampling(options))
    requests = spread_requests(base, options, {"prompt": prompts, "seconds": seconds})
    execute(plan(requests, _known_config(options)), options, {}, record.get("model_hash"))


def edit_music(
    options: MusicOptions, files: Iterable[Path], instructions: Sequence[str], with_residual: bool, **settings: Any
) -> None:
    """Edit each file by each instruction; `settings` are other fields of the requests.

    `with_residual` also writes what each edit removed.
    """
    config = _known_config(options)
    base = MusicRequest(instructions[0], **settings, **_sampling(options))
    sources = {_open(file): file for file in dict.fromkeys(files)}
    requests = [
        request
        for source in sources
        for request in spread_requests(replace(base, source=source), options, {"prompt": instructions})
    ]
    execute(plan(requests, config), options, sources, with_residual=with_residual)


def _known_config(options: MusicOptions) -> MusicGenConfig:
    _, config = known_model(options.model_name)
    if not isinstance(config, MusicGenConfig):
        raise RequestError(
            f"{options.model_name} is not a MusicGen model",
            "use instruct-musicgen to edit, musicgen-small to generate",
        )
    return config


def _sampling(options: MusicOptions) -> dict[str, Any]:
    """Return the fields of a request that the flags of sampling and guidance set."""
    return options.token_sampling() | ({} if options.cfg is None else {"guidance": options.cfg})


def _open(file: Path) -> Clip:
    """Open a file to edit, whose samples stay in it. Raises AudioError if it cannot be read into memory."""
    clip = StreamedClip.open(file)
    limit = max_frames(file.stat().st_size, clip.channels)
    require_frames(printable(file), clip.samples, clip.sample_rate, limit)
    return clip
