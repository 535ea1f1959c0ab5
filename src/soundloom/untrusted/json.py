"""Read JSON files from outside. Size, nesting and numbers are checked before anything is built from the text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from soundloom.errors import ConfigError, ModelNotFoundError
from soundloom.reading import read_limited

LONGEST_JSON = 1 << 22  # bytes; published configurations have a few thousand, indices of shards some hundred thousand
DEEPEST_JSON = 64  # objects and lists inside each other
LONGEST_RECORD = 1 << 24  # bytes; records of clips and of the items of data sets may hold long lists
MOST_DIGITS = 300  # of an integer; more could not become a float
_LONGEST_FILE_NAME = 255  # bytes; file systems have none that is longer

Pairs = Callable[[list[tuple[str, Any]]], Any]

_STRINGS = re.compile(r'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)')  # one that never ends reaches to the end of the text
_OTHER_THAN_BRACKETS = re.compile(r"[^][{}]++")


def decode_json(data: str | bytes, longest: int = LONGEST_JSON, pairs: Pairs | None = None) -> Any:
    """Decode JSON text; `pairs` builds objects, as for `json.loads`.

    Raises ValueError, whose message says what is wrong and quotes nothing of the text. Numbers must be finite, and text
    Unicode: the halves of a surrogate pair that JSON can spell alone are refused.
    """
    if len(data) > longest:
        raise ValueError(f"it has {len(data)} bytes, more than the {longest} that are read")
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    if not is_shallow(text):
        raise ValueError(f"its brackets are nested more than {DEEPEST_JSON} deep, or do not match")
    found = json.loads(
        text, object_pairs_hook=pairs, parse_constant=_refuse_constant, parse_int=_whole, parse_float=_real
    )
    if "\\u" in text:
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text in it is not Unicode: half of a surrogate pair") from None
    return found


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


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError("it holds an integer with very many digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it holds a number that is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not a number that JSON has")


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
        data = decode_json(read_limited(path, LONGEST_JSON))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path} as a JSON configuration: {reason}") from error
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path} must hold a JSON object, found {type(data).__name__}")
    return data
