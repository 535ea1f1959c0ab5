"""Read recipes: folders of TOML files that describe a model and its training, a file for each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ModelConfig, parse_model_config
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.config.toml import parse_toml, read_table
from soundloom.errors import ConfigError, RequestError, printable, shown

MODEL, TEXT_ENCODER = "model", "text_encoder"
T = TypeVar("T")


class Recipe:
    """Read the files of a folder; `overrides` such as "loop.steps=100" change values of the file `overridden`.toml.

    Raises RequestError where the folder does not exist, ConfigError where a file is missing or invalid.
    """

    def __init__(self, folder: Path, overridden: str = "", overrides: Sequence[str] = ()) -> None:
        if not folder.is_dir():
            raise RequestError(f"there is no recipe folder {folder}", "configs/mini is an example of one")
        self.folder, self._overridden, self._overrides = folder, overridden, overrides

    def has(self, name: str) -> bool:
        """Return whether NAME.toml exists."""
        return self._path(name).is_file()

    def contents(self, name: str) -> bytes:
        """Return NAME.toml unparsed."""
        return self._path(name).read_bytes()

    def read(self, cls: type[T], name: str) -> T:
        """Parse NAME.toml strictly."""
        path = self._path(name)
        if not path.is_file():
            raise ConfigError(f"the recipe {self.folder} has no {path.name}", f"it configures {name}")
        table = read_table(path)
        if name == self._overridden:
            for override in self._overrides:
                table = _merged(table, _parse_override(override))
        try:
            return parse(cls, table)
        except ConfigError as error:
            raise ConfigError(f"{printable(path)}: {error.args[0]}", error.hint) from error

    @cached_property
    def model(self) -> ModelConfig:
        """The model's configuration."""
        path = self._path(MODEL)
        if not path.is_file():
            raise ConfigError(
                f"the recipe {self.folder} has no {path.name}", "describe a model in it, or name one with --from"
            )
        config = parse_model_config(read_table(path))
        if not isinstance(config, ModelConfig):
            raise ConfigError(f"{path} describes only an autoencoder")
        return config

    @cached_property
    def text_encoder(self) -> T5GemmaConfig:
        """The text encoder's configuration, except that the tokenizer determines its vocabulary size."""
        return self.read(T5GemmaConfig, TEXT_ENCODER)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.toml"


def _parse_override(override: str) -> dict[str, Any]:
    """Parse "loop.steps=100" to a table; a value that is not valid TOML is a string."""
    key, equals, value = override.partition("=")
    for text in (value, json.dumps(value)) if equals else ():
        try:
            return parse_toml(f"{key} = {text}")
        except ValueError:
            continue
    raise RequestError(f"--set {shown(override)} is not of the form KEY=VALUE", "--set loop.steps=100")


def _merged(table: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in override.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
