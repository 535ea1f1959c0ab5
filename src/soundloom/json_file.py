"""Read JSON files from outside. Size, nesting and numbers are checked before anything is built from the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from soundloom.errors import ConfigError, ModelNotFoundError

LONGEST_JSON = 1 << 22  # bytes; published configurations have a few thousand, indices of shards some hundred thousand
DEEPEST_JSON = 64  # objects and lists inside each other
_LONGEST_FILE_NAME = 255  # bytes; file systems have none that is longer

Pairs = Callable[[list[tuple[str, Any]]], Any]

_STRINGS = re.compile(r'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)')  # one that never ends reaches to the end of the text
_OTHER_THAN_BRACKETS = re.compile(r"[^][{}]++")


def decode_json(data: bytes, longest: int = LONGEST_JSON, pairs: Pairs | None = None) -> Any:
    """Decode JSON text; `pairs` builds objects, as for `json.loads`.

    Raises ValueError, whose message says what is wrong and quotes nothing of the text.
    """
    if len(data) > longest:
        raise ValueError(f"it has {len(data)} bytes, more than the {longest} that are read")
    text = data.decode("utf-8")
    if not is_shallow(text):
        raise ValueError(f"its brackets are nested more than {DEEPEST_JSON} deep, or do not match")
    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        # Python refuses integers of several thousand digits with a hint about its own settings.
        raise ValueError("it holds an integer with very many digits") from error


def is_shallow(text: str, deepest: int = DEEPEST_JSON) -> bool:
    """Whether brackets outside of strings are nested at most `deepest` deep; false too where many do not match."""
    if text.count("[") + text.count("{") <= deepest:
        return True
    brackets = _OTHER_THAN_BRACKETS.sub("", _STRINGS.sub("", text))
    for _ in range(deepest):
        before, brackets = brackets, brackets.replace("[]", "").replace("{}", "")
        if brackets == before:
            break
    return not brackets


def _refuse_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError(f"{name} is not a number that JSON has", "", 0)


def is_file_name(value: Any) -> bool:
    """Whether a value from a file may name a file or folder beside it: never one elsewhere."""
    if not isinstance(value, str) or not value.isprintable() or set(value) & set("/\\:"):
        return False
    return value not in ("", ".", "..") and len(value.encode()) <= _LONGEST_FILE_NAME


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a configuration file, which holds an object. Raises ModelNotFoundError or ConfigError."""
    if not path.is_file():
        raise ModelNotFoundError(f"there is no {path}", "fetch it from the same repository as the weights")
    try:
        with path.open("rb") as file:
            data = decode_json(file.read(LONGEST_JSON + 1))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path} as a JSON configuration: {reason}") from error
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path} must hold a JSON object, found {type(data).__name__}")
    return data
