"""Open a model of either kind: Stable Audio, or MusicGen and its editor."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict, Unpack, overload

from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.config.options import check_options
from soundloom.engines.registry import music_engine_class, require_device
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.stable_audio import model

MusicName = Literal[
    "instruct-musicgen",
    "instruct-musicgen@int4",
    "musicgen-small",
    "musicgen-small@transformers",
    "musicgen-medium",
    "musicgen-large",
]


class LoadOptions(TypedDict, total=False):
    """Options of `load`."""

    engine: str
    device: str | None
    precision: str
    keep_loaded: bool
    keep_bad: bool
    revision: str | None
    offline: bool | None
    accept_license: bool


@overload
# These names are also str; the first signature wins for them.
def load(source: MusicName, **options: Unpack[LoadOptions]) -> MusicModel: ...  # type: ignore[overload-overlap]
@overload
def load(source: str | Path = "mini", **options: Unpack[LoadOptions]) -> model.Model: ...
def load(source: str | Path = "mini", **options: Unpack[LoadOptions]) -> model.Model | MusicModel:
    """Open a model by catalogue name, folder or file; weights are read when they are first needed.

    A name, folder or file of MusicGen gives a `MusicModel`, any other a `Model`; type checkers know the names.
    Options of both: `engine`, `device`, `precision`; `keep_loaded` keeps every network in memory between calls, for
    servers and batches; `keep_bad` returns what is not usable sound (silence, static, far too loud) with a warning
    instead of raising OutputError; `revision`, `offline` and `accept_license` are for downloads. Raises RequestError,
    ModelNotFoundError, CheckpointError, DownloadError or EngineError.
    """
    check_options("load", options, LoadOptions.__annotations__)
    return load_music(source, **options) if is_music(source) else model.load(source, **options)


def load_music(
    source: str | Path,
    *,
    engine: str = "auto",
    device: str | None = None,
    precision: str = "auto",
    keep_loaded: bool = False,
    keep_bad: bool = False,
    revision: str | None = None,
    offline: bool | None = None,
    accept_license: bool = False,
) -> MusicModel:
    """Open a MusicGen model; see `load`."""
    require_device(engine, device)
    checkpoint = open_music(source, revision=revision, offline=offline, accept_license=accept_license)
    made = music_engine_class(engine)(checkpoint, device, precision)
    return MusicModel(checkpoint, made, keep_loaded=keep_loaded, keep_bad=keep_bad)
