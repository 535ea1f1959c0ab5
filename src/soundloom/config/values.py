"""Convert numbers of any type, such as NumPy's, to Python's int and float, as engines and JSON records need."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from soundloom.errors import RequestError


def as_int(name: str, value: Any) -> int:
    """Convert an integer of any type. Raises RequestError."""
    try:
        return operator.index(value)
    except TypeError:
        raise RequestError(f"{name} must be an integer, found {type(value).__name__}") from None


def as_float(name: str, value: Any) -> float:
    """Convert a number of any type, but no text or truth value. Raises RequestError."""
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise RequestError(f"{name} must be a number, found {type(value).__name__}") from None
    except OverflowError:
        raise RequestError(f"{name} must be a number, found one that is too large") from None


def coerce(request: Any, integers: Iterable[str], floats: Iterable[str]) -> None:
    """Convert the named fields of a frozen dataclass to int and float, except None defaults. Raises RequestError."""
    defaults = {field.name: field.default for field in fields(request)}
    for convert, names in ((as_int, integers), (as_float, floats)):
        for name in names:
            value = getattr(request, name)
            if value is not None or defaults[name] is not None:
                object.__setattr__(request, name, convert(name.replace("_", " "), value))
