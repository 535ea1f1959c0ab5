"""JSON from outside: sizes, depth and numbers are limited before anything is built of it."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

LONGEST_JSON = 16 * 2**20  # characters
DEEPEST_JSON = 64  # objects and lists inside each other
MOST_DIGITS = 300  # of a whole number; more could not become a float

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


def parse_json(data: str | bytes, deepest: int = DEEPEST_JSON) -> Any:
    """Parse JSON. Raises ValueError, in words, for what is no JSON, too long, too deep, or no number that can be used.

    Text must be Unicode, so the halves of a surrogate pair that JSON can spell alone are refused.
    """
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    if len(text) > LONGEST_JSON:
        raise ValueError(f"it is longer than {LONGEST_JSON} characters")
    _require_shallow(text, deepest)
    found = json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_real)
    if "\\u" in text:
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text in it is not Unicode: half of a surrogate pair") from None
    return found


def _require_shallow(text: str, deepest: int) -> None:
    if text.count("[") + text.count("{") <= deepest:
        return
    depth = 0
    for match in _BRACKETS.finditer(_TEXT.sub("", text)):
        depth += 1 if match[0] in "[{" else -1
        if depth > deepest:
            raise ValueError(f"it is nested more than {deepest} deep")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has more than {MOST_DIGITS} digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large for a number")
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
