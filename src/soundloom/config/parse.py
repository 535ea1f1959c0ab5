"""Parse JSON objects into frozen dataclasses; unknown, missing or invalid fields are errors that name their path.

Numbers must be in the ranges of `config.ranges`.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from soundloom.config.ranges import hints_of
from soundloom.errors import MAX_SHOWN, ConfigError, shown

T = TypeVar("T")
_MAX_ENTRIES = 4096  # of a list
_MAX_TEXT = 4096  # characters
_MAX_LISTED = 250  # characters of field names in a hint


def parse(cls: type[T], data: Any, path: str = "") -> T:
    """Build dataclass `cls` from a JSON object; `path` locates the object in messages."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or 'the configuration'} must be an object, found {type(data).__name__}")
    hints = hints_of(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            raise ConfigError(f"unknown field {shown(_join(path, name))!r} in the configuration", _near(name, fields))
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"the configuration lacks the field {_join(path, name)!r}")
    return cls(**values)


def _near(name: str, fields: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name[:MAX_SHOWN], fields, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    known = ", ".join(sorted(fields))
    return "known fields: " + (known if len(known) <= _MAX_LISTED else f"{known[:_MAX_LISTED]}…")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _value(hint: Any, data: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(args, data, path)
    if origin is Annotated:
        value = _value(args[0], data, path)
        for part in args[1:]:
            part.check(value, path)
        return value
    if origin is typing.Literal:
        _check(data in args, data, path, "one of " + ", ".join(map(repr, args)))
        return args[args.index(data)]  # an equal value may have another type
    if origin is tuple:
        _check(isinstance(data, list | tuple), data, path, "a list")
        if len(data) > _MAX_ENTRIES:
            raise ConfigError(f"{path} has {len(data)} entries, more than the limit of {_MAX_ENTRIES}")
        return tuple(_value(args[0], item, f"{path}[{i}]") for i, item in enumerate(data))
    if origin is Mapping or hint is Mapping:
        _check(isinstance(data, Mapping), data, path, "an object")
        return {name: _value(args[1] if args else Any, item, f"{path}.{name}") for name, item in data.items()}
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), data, path)
    if hint is float:
        _check(isinstance(data, int | float) and not isinstance(data, bool), data, path, "a number")
        # float() raises OverflowError for larger integers.
        _check(abs(data) <= sys.float_info.max, data, path, "a finite number")
        return float(data)
    if hint is int:
        return _check(isinstance(data, int) and not isinstance(data, bool), data, path, "an integer")
    if hint is Any:
        return data
    if hint is str:
        _check(isinstance(data, str), data, path, "text")
        return _check(len(data) <= _MAX_TEXT and (not data or data.isprintable()), data, path, "a line of text")
    return _check(isinstance(data, hint), data, path, "true or false" if hint is bool else hint.__name__)


def _union(choices: tuple[Any, ...], data: Any, path: str) -> Any:
    """Parse a union, which is always `X | None` here."""
    if data is None and type(None) in choices:
        return None
    return _value(next(choice for choice in choices if choice is not type(None)), data, path)


def _check(good: bool, data: Any, path: str, wanted: str) -> Any:
    if not good:
        raise ConfigError(f"{path} must be {wanted}, found {_quoted(data)}")
    return data


def _quoted(value: Any) -> str:
    return shown(repr(value) if isinstance(value, str) else value)


def to_dict(config: Any) -> Any:
    """Invert `parse`; omit fields that have their default value."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            field.name: to_dict(getattr(config, field.name))
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != field.default
        }
    if isinstance(config, tuple | list):
        return [to_dict(item) for item in config]
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    return config
