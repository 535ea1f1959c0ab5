"""From the model flags to a configuration, and to a model once all that needs no weights has been checked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from soundloom.checkpoints.stable_audio.open import AnyConfig, Checkpoint, open_checkpoint
from soundloom.cli.options.groups import ModelOptions
from soundloom.config.catalogue import find_entry, require_entry
from soundloom.config.entries import ModelEntry
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.registry import require_device
from soundloom.errors import RequestError

if TYPE_CHECKING:
    from soundloom.pipeline.stable_audio.model import Model


def named_entry(name: str) -> ModelEntry | None:
    """The catalogue entry of a name such as `small-music` or `small-music@npz`; None for folders and files."""
    name = name.partition("@")[0]
    return require_entry(name) if find_entry(name) else None


def known_config(options: ModelOptions) -> AnyConfig:
    """The model's configuration, for a named model without a download."""
    entry = named_entry(options.model_name)
    return entry.parsed_config() if entry else open_checkpoint(options.model_name).config


def generator_config(options: ModelOptions) -> ModelConfig:
    """The configuration of a model that generates; raises RequestError for an autoencoder alone."""
    config = known_config(options)
    if not isinstance(config, ModelConfig):
        raise RequestError(
            f"{options.model_name} is an autoencoder alone and cannot generate",
            "it can encode and decode; `soundloom models` lists those that generate",
        )
    return config


def open_model(
    options: ModelOptions, precision: str = "auto", keep_loaded: bool = False, keep_bad: bool = False
) -> Model:
    """Open the model, after a download if it has to be; in a terminal its license is asked about."""
    from soundloom.pipeline.stable_audio.model import Model, make_engine

    require_device(options.engine, options.device)
    checkpoint = open_checkpoint(
        options.model_name,
        revision=options.revision,
        offline=options.offline,
        accept_license=options.accept_license,
        confirm=confirmation(),
    )
    engine = make_engine(checkpoint, options.engine, options.device, precision)
    return Model(checkpoint, engine, keep_loaded=keep_loaded, keep_bad=keep_bad)


def open_named(name: str, accept_license: bool = False) -> Checkpoint:
    """Open a checkpoint alone, after a download if it has to be; in a terminal its license is asked about."""
    return open_checkpoint(name, accept_license=accept_license, confirm=confirmation())


def confirmation() -> Callable[[str], bool] | None:
    """What asks about a license, where there is a terminal to ask in."""
    return _confirm_license if sys.stdin.isatty() and sys.stderr.isatty() else None


def _confirm_license(notice: str) -> bool:
    sys.stderr.write(f"{notice}\nDo you accept? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
