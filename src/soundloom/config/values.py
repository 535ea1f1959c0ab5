"""Numbers as callers give them, NumPy's among them, into Python's own: engines take those, and records are JSON."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from soundloom.errors import RequestError


def as_int(name: str, value: Any) -> int:
    """Return an integer of any type as an int. Raises RequestError."""
    try:
        return operator.index(value)
    except TypeError:
        raise RequestError(f"{name} must be an integer, found {type(value).__name__}") from None


def as_float(name: str, value: Any) -> float:
    """Return a number of any type as a float; text is none. Raises RequestError."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise RequestError(f"{name} must be a number, found {type(value).__name__}") from None
    except OverflowError:
        raise RequestError(f"{name} must be a number, found one that is too large") from None


def coerce(request: Any, integers: Iterable[str], floats: Iterable[str]) -> None:
    """Give the named fields of a frozen dataclass Python's own numbers. Raises RequestError.

    None stays where it is the field's default.
    """
    defaults = {field.name: field.default for field in fields(request)}
    for convert, names in ((as_int, integers), (as_float, floats)):
        for name in names:
            value = getattr(request, name)
            if value is not None or defaults[name] is not None:
                object.__setattr__(request, name, convert(name.replace("_", " "), value))
