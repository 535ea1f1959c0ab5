"""Read `lora_config`, the JSON object in which adapter files state their type, rank and alpha."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.errors import shown
from soundloom.lora.adapter import TYPES
from soundloom.lora.files.parts import mismatch
from soundloom.untrusted.json import decode_json

OLD_DORA = "dora"  # rows or columns, which the magnitudes decide
_MAX_ALPHA = 1e6
_ALIASES = {"dora-xs": "dora-rows-xs", "xs": "lora-xs"}


@dataclass(frozen=True)
class Configuration:
    """The checked fields of a `lora_config`; None where it lacks them. `type` may be `dora`."""

    type: str | None
    rank: int | None
    alpha: float | None


def decode_config(path: Path, text: str) -> Mapping[str, Any]:
    """Decode the JSON text of a `lora_config`. Raises MismatchError."""
    try:
        config = decode_json(text)
    except ValueError as error:
        raise mismatch(path, f"has a lora_config that is not JSON: {shown(str(error))}") from error
    if not isinstance(config, Mapping):
        raise mismatch(path, f"has a lora_config that is not a JSON object: {shown(config)}")
    return config


def check_config(path: Path, config: Mapping[str, Any] | None) -> Configuration:
    """Check the fields that decide how tensors are used. Raises MismatchError."""
    config = config or {}
    for name in ("include", "exclude"):
        patterns = config.get(name)
        texts = [patterns] if isinstance(patterns, str) else patterns or []
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise mismatch(path, f"has a lora_config whose {name} is not a list of names: {shown(patterns)}")
    return Configuration(_type(path, config), _rank(path, config.get("rank")), _alpha(path, config.get("alpha")))


def patterns_of(config: Mapping[str, Any], name: str) -> list[str]:
    """Return the `include` or `exclude` list of a checked configuration."""
    patterns = config.get(name) or []
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _type(path: Path, config: Mapping[str, Any]) -> str | None:
    found = config.get("adapter_type")
    if found is None:
        return None
    name = found.lower().replace("_", "-") if isinstance(found, str) else ""
    name = _ALIASES.get(name, name)
    if name not in TYPES and name != OLD_DORA:
        raise mismatch(path, f"is an adapter of the unknown type {shown(found)!r}", f"known types: {', '.join(TYPES)}")
    return name


def _number(value: Any) -> float | None:
    """Return a finite number as float, None for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _rank(path: Path, value: Any) -> int | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or number < 1 or not number.is_integer():
        raise mismatch(path, f"has a lora_config whose rank is {shown(value)}, not a positive integer")
    return int(number)


def _alpha(path: Path, value: Any) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or abs(number) > _MAX_ALPHA:
        raise mismatch(path, f"has a lora_config whose alpha is {shown(value)}, not a number up to {_MAX_ALPHA:g}")
    return number
