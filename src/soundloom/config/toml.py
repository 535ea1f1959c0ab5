"""Read TOML files, with limits on size and nesting."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from soundloom.config.parse import parse
from soundloom.errors import ConfigError, printable, shown
from soundloom.untrusted.limits import read_limited

MAX_TOML_BYTES = 2**20  # bytes
MAX_TOML_DEPTH = 32  # nested tables and lists
T = TypeVar("T")


def read_toml(cls: type[T], path: Path) -> T:
    """Parse a TOML file into dataclass `cls`. Raises ConfigError."""
    return parse(cls, read_table(path))


def read_table(path: Path) -> dict[str, object]:
    """Return the contents of a TOML file. Raises ConfigError."""
    try:
        return parse_toml(read_limited(path, MAX_TOML_BYTES).decode())
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise ConfigError(f"cannot read {printable(path)} as TOML: {shown(reason)}") from error


def parse_toml(text: str) -> dict[str, object]:
    """Parse TOML. Raises ValueError, also for tables and lists that are nested too deep."""
    too_deep = f"it is nested more than {MAX_TOML_DEPTH} deep"
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    layer: list[object] = [table]
    for _ in range(MAX_TOML_DEPTH):
        layer = [part for value in layer if isinstance(value, dict | list) for part in _parts(value)]
    if layer:
        raise ValueError(too_deep)
    return table


def _parts(value: dict[str, object] | list[object]) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value
