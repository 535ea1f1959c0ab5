"""Turn JSON objects into frozen dataclasses: an unknown, missing or ill-typed field is an error with its path."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from soundloom.errors import ConfigError

T = TypeVar("T")


def parse(cls: type[T], data: Any, path: str = "") -> T:
    """Build dataclass `cls` from a JSON object; `path` is where the object stands, for messages."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or 'the configuration'} must be an object, found {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            close = difflib.get_close_matches(name, fields, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known fields: {', '.join(sorted(fields))}"
            raise ConfigError(f"unknown field {_join(path, name)!r} in the configuration", hint)
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"the configuration lacks {_join(path, name)!r}")
    return cls(**values)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _value(hint: Any, data: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(args, data, path)
    if origin is typing.Literal:
        return _check(data in args, data, path, "one of " + ", ".join(map(repr, args)))
    if origin is tuple:
        _check(isinstance(data, list | tuple), data, path, "a list")
        return tuple(_value(args[0], item, f"{path}[{i}]") for i, item in enumerate(data))
    if origin is Mapping or hint is Mapping:
        _check(isinstance(data, Mapping), data, path, "an object")
        return {name: _value(args[1] if args else Any, item, f"{path}.{name}") for name, item in data.items()}
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), data, path)
    if hint is float:
        _check(isinstance(data, int | float) and not isinstance(data, bool), data, path, "a number")
        return float(data)
    if hint is int:
        return _check(isinstance(data, int) and not isinstance(data, bool), data, path, "a whole number")
    if hint is Any:
        return data
    return _check(isinstance(data, hint), data, path, "text" if hint is str else hint.__name__)


def _union(choices: tuple[Any, ...], data: Any, path: str) -> Any:
    """Take None where allowed, else the one other choice: unions here are always `X | None`."""
    if data is None and type(None) in choices:
        return None
    return _value(next(choice for choice in choices if choice is not type(None)), data, path)


def _check(good: bool, data: Any, path: str, wanted: str) -> Any:
    if not good:
        raise ConfigError(f"{path} must be {wanted}, found {data!r}")
    return data


def to_dict(config: Any) -> Any:
    """Undo `parse`, leaving out fields that hold their default, so that configurations stay readable."""
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
