"""Load a model of either family: Stable Audio, or MusicGen and its editor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.config.options import check_options
from soundloom.engines.registry import engine_class, music_engine_class, require_device, use_threads
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.stable_audio.model import Model

MusicName = Literal[
    "instruct-musicgen",
    "instruct-musicgen@int4",
    "musicgen-small",
    "musicgen-small@transformers",
    "musicgen-medium",
    "musicgen-large",
]
ModelT = TypeVar("ModelT", Model, MusicModel)
Confirm = Callable[[str], bool]


class LoadKwargs(TypedDict, total=False):
    """Options of `load`."""

    engine: str
    device: str | None
    precision: str
    threads: int | None
    keep_loaded: bool
    keep_bad: bool
    revision: str | None
    offline: bool | None
    accept_license: bool


@overload
# These names are also str; the first signature wins for them.
def load(source: MusicName, **options: Unpack[LoadKwargs]) -> MusicModel: ...  # type: ignore[overload-overlap]
@overload
def load(source: str | Path = "mini", **options: Unpack[LoadKwargs]) -> Model: ...
def load(source: str | Path = "mini", **options: Unpack[LoadKwargs]) -> Model | MusicModel:
    """Load a model by catalogue name, folder or file; weights are read when they are first needed.

    A name, folder or file of MusicGen returns a `MusicModel`, any other a `Model`; type checkers know the names.
    Options of both: `engine`, `device`, `precision`; `threads` is the number of CPU threads of PyTorch, for the whole
    process (by default one per usable core); `keep_loaded` keeps every network in memory between calls, for servers and
    batches; `keep_bad` returns clips that are not usable audio (silence, static, far too loud) with a warning instead
    of raising OutputError; `revision`, `offline` and `accept_license` are for downloads. Raises RequestError,
    ModelNotFoundError, CheckpointError, DownloadError or EngineError.
    """
    check_options("load", options, LoadKwargs.__annotations__)
    return load_music(source, **options) if is_music(source) else load_stable_audio(source, **options)


def load_stable_audio(
    source: str | Path = "mini", confirm: Confirm | None = None, **options: Unpack[LoadKwargs]
) -> Model:
    """Load a Stable Audio model; see `load`. `confirm` asks about the license of a download."""
    return _load(Model, open_checkpoint, engine_class, source, confirm, **options)


def load_music(source: str | Path, confirm: Confirm | None = None, **options: Unpack[LoadKwargs]) -> MusicModel:
    """Load a MusicGen model; see `load`. `confirm` asks about the license of a download."""
    return _load(MusicModel, open_music, music_engine_class, source, confirm, **options)


def _load(
    model: type[ModelT],
    open_model: Callable[..., Any],
    find_engine: Callable[[str], Any],
    source: str | Path,
    confirm: Confirm | None,
    *,
    engine: str = "auto",
    device: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
    keep_loaded: bool = False,
    keep_bad: bool = False,
    **download: Any,
) -> ModelT:
    use_threads(engine, threads)
    require_device(engine, device)
    checkpoint = open_model(source, confirm=confirm, **download)
    networks = find_engine(engine)(checkpoint, device, precision)
    return model(checkpoint, networks, keep_loaded=keep_loaded, keep_bad=keep_bad)
