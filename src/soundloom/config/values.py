"""Numbers as callers give them, NumPy's among them, into Python's own: engines take those, and records are JSON."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from soundloom.errors import RequestError


def whole(name: str, value: Any) -> int:
    """Return a whole number of any type as an int. Raises RequestError."""
    try:
        return operator.index(value)
    except TypeError:
        raise RequestError(f"{name} must be a whole number, found {type(value).__name__}") from None


def real(name: str, value: Any) -> float:
    """Return a number of any type as a float; text is none. Raises RequestError."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise RequestError(f"{name} must be a number, found {type(value).__name__}") from None
    except OverflowError:
        raise RequestError(f"{name} must be a number, found one that is too large") from None


def settle(request: Any, wholes: Iterable[str], reals: Iterable[str]) -> None:
    """Give the named fields of a frozen dataclass Python's own numbers. Raises RequestError.

    None stays where it is the field's default.
    """
    defaults = {field.name: field.default for field in fields(request)}
    for convert, names in ((whole, wholes), (real, reals)):
        for name in names:
            value = getattr(request, name)
            if value is not None or defaults[name] is not None:
                object.__setattr__(request, name, convert(name.replace("_", " "), value))
