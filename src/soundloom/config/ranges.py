"""Valid ranges of numbers in configurations, far wider than any published model needs but safe to compute with.

A field is annotated with its range: `depth: Depth`, or `Annotated[int, Within(0, 8)]`. `parse` checks it; a dataclass
also calls `check_ranges` in `__post_init__`, for instances that are created in Python.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Annotated, Any

from soundloom.audio.formats.limits import MAX_RATE, MIN_RATE
from soundloom.errors import ConfigError, shown


@dataclasses.dataclass(frozen=True)
class Within:
    """The range from `low` to `high`, inclusive."""

    low: float
    high: float

    def check(self, value: float, path: str) -> None:
        """Raise ConfigError for a value outside the range, including NaN."""
        if not self.low <= value <= self.high:
            raise ConfigError(f"{path} must be between {self.low} and {self.high}, found {shown(value)}")


MAX_WIDTH = 1 << 16
MAX_DEPTH = 1024
MAX_SAMPLES = 1 << 36  # samples

Width = Annotated[int, Within(1, MAX_WIDTH)]  # channels of a layer
Depth = Annotated[int, Within(1, MAX_DEPTH)]  # blocks of a transformer
Heads = Annotated[int, Within(1, 1024)]
Channels = Annotated[int, Within(1, 64)]  # of audio
SampleRate = Annotated[int, Within(MIN_RATE, MAX_RATE)]
WidthRatio = Annotated[float, Within(1 / 64, 64)]  # feed-forward width relative to the block's
Tokens = Annotated[int, Within(1, 4096)]  # of a prompt; attention cost is quadratic
Vocabulary = Annotated[int, Within(1, 1 << 22)]
TokenId = Annotated[int, Within(0, (1 << 22) - 1)]
Stride = Annotated[int, Within(1, 1024)]
Chunk = Annotated[int, Within(1, 2048)]  # tokens with full attention
LatentWindow = Annotated[int, Within(1, 1024)]  # latents on each side
Patch = Annotated[int, Within(1, 1 << 20)]  # samples
Epsilon = Annotated[float, Within(0, 1)]


_hints: dict[Any, dict[str, Any]] = {}


def hints_of(cls: Any) -> dict[str, Any]:
    """Return the type hints of a dataclass with their ranges, cached."""
    if cls not in _hints:
        _hints[cls] = typing.get_type_hints(cls, include_extras=True)
    return _hints[cls]


def check_ranges(config: Any) -> None:
    """Raise ConfigError for a field outside its range. None passes."""
    for name, hint in hints_of(type(config)).items():
        _check(hint, getattr(config, name), name)


def _check(hint: Any, value: Any, path: str) -> None:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        for part in args[1:]:
            part.check(value, path)
    elif origin in (typing.Union, types.UnionType) and value is not None:
        _check(next(each for each in args if each is not type(None)), value, path)
    elif origin is tuple:
        for index, item in enumerate(value):
            _check(args[0], item, f"{path}[{index}]")


class Ranged:
    """A configuration that checks the ranges of its fields."""

    def __post_init__(self) -> None:
        check_ranges(self)
