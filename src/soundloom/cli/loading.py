"""Look up the configuration of a model, and load models by the flags."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.stable_audio.open import AnyConfig, Checkpoint, open_checkpoint
from soundloom.cli.options.generation import GenerationOptions
from soundloom.cli.options.model import ModelOptions
from soundloom.config.catalogue import find_entry, require_entry
from soundloom.config.entries import ModelEntry
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError

if TYPE_CHECKING:
    from soundloom.pipeline.stable_audio.model import Model

ModelT = TypeVar("ModelT")


def named_entry(name: str) -> ModelEntry | None:
    """Return the catalogue entry of a name such as `small-music` or `small-music@npz`; None for folders and files."""
    name = name.partition("@")[0]
    return require_entry(name) if find_entry(name) else None


def known_model(source: str) -> tuple[str, AnyConfig | MusicGenConfig]:
    """Return the name and configuration of a model; a catalogue name needs no download."""
    entry = named_entry(source)
    if entry is not None:
        return entry.name, parse(MusicGenConfig, entry.config()) if entry.is_musicgen else entry.parsed_config()
    checkpoint = open_music(source) if is_music(source) else open_checkpoint(source)
    return checkpoint.name, checkpoint.config


def known_generator(options: GenerationOptions) -> tuple[str, ModelConfig]:
    """Return the name and configuration of a Stable Audio model that generates; raises RequestError for others."""
    name, config = known_model(options.model_name)
    if isinstance(config, MusicGenConfig):
        raise RequestError(f"{options.model_name} is not a Stable Audio model", "use mini or small-music")
    if not isinstance(config, ModelConfig):
        raise RequestError(
            f"{options.model_name} is an autoencoder alone and cannot generate",
            "it can encode and decode; `soundloom models` lists the models that generate",
        )
    decoder = "same-s" if config.same.decoder.config.sliding_window is None else "same-l"
    if options.decoder not in (None, decoder):
        raise RequestError(
            f"{options.model_name} generates latents of {decoder}, not {options.decoder}",
            f"leave out --decoder, or use --decoder {decoder}",
        )
    return name, config


def open_model(
    options: ModelOptions, precision: str = "auto", keep_loaded: bool = False, keep_bad: bool = False
) -> Model:
    """Load a Stable Audio model, with a download if necessary."""
    from soundloom.pipeline.load import load_stable_audio

    return open_with(load_stable_audio, options, precision, keep_loaded, keep_bad)


def open_with(
    load: Callable[..., ModelT], options: ModelOptions, precision: str, keep_loaded: bool, keep_bad: bool
) -> ModelT:
    """Load a model by the flags; in a terminal, ask about the license of a download."""
    return load(
        options.model_name,
        confirmation(),
        engine=options.engine,
        device=options.device,
        precision=precision,
        threads=options.threads,
        keep_loaded=keep_loaded,
        keep_bad=keep_bad,
        revision=options.revision,
        offline=options.offline,
        accept_license=options.accept_license,
    )


def open_named(name: str, accept_license: bool = False) -> Checkpoint:
    """Open a Stable Audio checkpoint, with a download if necessary; in a terminal, ask about its license."""
    return open_checkpoint(name, accept_license=accept_license, confirm=confirmation())


def confirmation() -> Callable[[str], bool] | None:
    """Return the function that asks about a license, or None without a terminal."""
    return _confirm_license if sys.stdin.isatty() and sys.stderr.isatty() else None


def _confirm_license(notice: str) -> bool:
    sys.stderr.write(f"{notice}\nDo you accept? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
