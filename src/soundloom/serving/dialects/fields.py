"""Read the fields of a request of another service: their types and ranges, and which ones are not honored."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from soundloom.errors import RequestError, shown

MAX_PROMPT = 10_000  # characters
_SHOWN_NAMES = 20
_UNSAFE = re.compile(r"[^\w.\-]", re.ASCII)


class FieldsError(RequestError):
    """Fields that are missing or have the wrong type; `faults` has a name and a reason for each."""

    def __init__(self, faults: Sequence[tuple[str, str]], hint: str = "") -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in faults), hint)
        self.faults = tuple(faults)


class Fields:
    """The fields of a request. Faults are collected, and raised together by `check`."""

    def __init__(self, values: Mapping[str, Any], *, is_form: bool = False) -> None:
        """The values of forms are text, also those of numbers."""
        self._values, self._is_form = values, is_form
        self._read: set[str] = set()
        self.faults: list[tuple[str, str]] = []
        self.dropped: list[str] = []  # fields that are known, and not honored

    def check(self) -> None:
        """Raise FieldsError if there are faults."""
        if self.faults:
            raise FieldsError(self.faults)

    @property
    def ignored(self) -> list[str]:
        """The names of given fields that are not honored."""
        unread = [name for name, value in self._values.items() if name not in self._read and value not in (None, "")]
        return [_UNSAFE.sub("_", str(name))[:64] for name in dict.fromkeys([*unread, *self.dropped])][:_SHOWN_NAMES]

    def fault(self, name: str, reason: str) -> None:
        self.faults.append((name, reason))

    def drop(self, *names: str) -> None:
        """Name fields as ignored if they are given."""
        self.dropped += [name for name in names if self.get(name) is not None]

    def get(self, name: str) -> Any:
        """Return a value of any type, or None."""
        self._read.add(name)
        return self._values.get(name)

    def text(self, name: str, *, required: bool = False, longest: int = MAX_PROMPT) -> str:
        """Return text; empty if the field is not given."""
        value = self.get(name)
        if value is None or value == "":
            if required:
                self.fault(name, "is required")
            return ""
        if not isinstance(value, str):
            self.fault(name, "must be text")
            return ""
        if len(value) > longest:
            self.fault(name, f"must have at most {longest} characters, found {len(value)}")
        return value

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.get(name)
        if value is None or value == "":
            return default
        if value not in choices:
            self.fault(name, f"must be one of {', '.join(choices)}, found {shown(value)}")
            return default
        return str(value)

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """Return a number within a range, both ends included; None if it is not given."""
        value = self.get(name)
        if value is None or (self._is_form and value == ""):
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            if isinstance(value, str) and not self._is_form:
                raise ValueError
            number = float(value)
            if not math.isfinite(number):
                raise ValueError
        except (ValueError, OverflowError):
            self.fault(name, f"must be a number, found {shown(value)}")
            return None
        if not low <= number <= high:
            self.fault(name, f"must be {_range(low, high)}, found {number:g}")
            return None
        return number

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return an integer within a range; None if it is not given."""
        value = self._values.get(name)
        if isinstance(value, str) and self._is_form and re.fullmatch(r"-?\d{1,20}", value, re.ASCII):
            value = int(value)
        number = self.number(name, low, high)
        if number is not None and number != int(number):
            self.fault(name, f"must be a whole number, found {number:g}")
            return None
        # A float would round seeds above 2^53.
        return None if number is None else value if isinstance(value, int) else int(number)

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        if self._is_form and str(value).lower() in ("true", "false", "1", "0"):
            return str(value).lower() in ("true", "1")
        self.fault(name, f"must be true or false, found {shown(value)}")
        return False


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{low:g} to {high:g}"
