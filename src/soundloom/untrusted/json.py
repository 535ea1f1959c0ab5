"""Parse untrusted JSON: size, nesting and numbers are checked before any object is built."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from soundloom.errors import ConfigError, ModelNotFoundError
from soundloom.untrusted.limits import read_limited

MAX_JSON_BYTES = 1 << 22  # bytes; published configurations have a few thousand, shard indices some hundred thousand
MAX_JSON_DEPTH = 64  # nested objects and lists
MAX_RECORD_BYTES = 1 << 24  # bytes; records of clips and dataset items may hold long lists
MAX_DIGITS = 300  # of an integer; larger ones do not fit a float
_MAX_FILE_NAME_BYTES = 255  # bytes; the limit of common file systems

Pairs = Callable[[list[tuple[str, Any]]], Any]

_STRINGS = re.compile(r'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)')  # an unterminated string extends to the end
_OTHER_THAN_BRACKETS = re.compile(r"[^][{}]++")


def decode_json(data: str | bytes, max_bytes: int = MAX_JSON_BYTES, pairs: Pairs | None = None) -> Any:
    """Decode JSON text; `pairs` builds objects, as `object_pairs_hook` of `json.loads` does.

    Numbers must be finite and strings free of lone surrogates. Raises ValueError, whose message never quotes the text.
    """
    if len(data) > max_bytes:
        raise ValueError(f"it has {len(data)} bytes, more than the limit of {max_bytes}")
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    if not is_shallow(text):
        raise ValueError(f"its brackets are nested more than {MAX_JSON_DEPTH} deep, or do not match")
    found = json.loads(
        text, object_pairs_hook=pairs, parse_constant=_reject_constant, parse_int=_parse_int, parse_float=_parse_float
    )
    if "\\u" in text:
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a string in it is not Unicode: half of a surrogate pair") from None
    return found


def is_shallow(text: str, max_depth: int = MAX_JSON_DEPTH) -> bool:
    """Whether brackets outside of strings are nested at most `max_depth` deep; also false when many do not match."""
    if text.count("[") + text.count("{") <= max_depth:
        return True
    brackets = _OTHER_THAN_BRACKETS.sub("", _STRINGS.sub("", text))
    for _ in range(max_depth):
        before, brackets = brackets, brackets.replace("[]", "").replace("{}", "")
        if brackets == before:
            break
    return not brackets


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it holds an integer with more than {MAX_DIGITS} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it holds a number that is too large")
    return value


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not valid JSON")


def is_file_name(value: Any) -> bool:
    """Whether a value is a plain file name, without a path that could point to another folder."""
    if not isinstance(value, str) or not value.isprintable() or set(value) & set("/\\:"):
        return False
    return value not in ("", ".", "..") and len(value.encode()) <= _MAX_FILE_NAME_BYTES


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a configuration file that holds a JSON object. Raises ModelNotFoundError or ConfigError."""
    if not path.is_file():
        raise ModelNotFoundError(f"there is no {path}", "download it from the same repository as the weights")
    try:
        data = decode_json(read_limited(path, MAX_JSON_BYTES))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path} as a JSON configuration: {reason}") from error
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path} must hold a JSON object, found {type(data).__name__}")
    return data
