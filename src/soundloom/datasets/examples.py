"""What all datasets share: examples that are read when they are needed, which of them are taken, and their order.

A dataset is a sequence of entries. An entry knows where it is from and the fingerprint of its content; `read` makes the
item, which holds sound or latents. What cannot be read is reported and skipped, never replaced by something else.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from soundloom.config.ranges import Within, check_ranges
from soundloom.errors import ConfigError, CorruptFileError, SoundloomError, printable
from soundloom.json_file import LONGEST_RECORD, decode_json
from soundloom.reading import read_limited

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Item:
    """One example: sound (channels, samples) with its rate, or latents (channels, frames), and what is said about it.

    `origin` is unique within a dataset. `seconds` are those of the whole original. `metadata` holds everything that was
    written beside the sound, the captions included.
    """

    origin: str
    captions: tuple[str, ...]
    seconds: float
    audio: NDArray[np.float32] | None = None
    sample_rate: int = 0
    latents: NDArray[np.float32] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Entry(Protocol):
    """An example that is not read yet."""

    @property
    def origin(self) -> str: ...

    def fingerprint(self) -> str:
        """Hash of the content that makes the sound or the latents, without what is said about it."""
        ...

    def describe(self) -> dict[str, Any]:
        """What is said about it, without reading the sound."""
        ...

    def read(self) -> Item:
        """Everything. This and the two above raise a SoundloomError that names the file where it cannot be read."""
        ...

    def shelved(self) -> Entry:
        """The same without what can be read once more, for those who keep many entries."""
        ...


@dataclass(frozen=True)
class FoundFile:
    """A file below a folder, named by its path from there."""

    root: Path
    path: Path

    @property
    def origin(self) -> str:
        return as_unicode(self.path.relative_to(self.root).as_posix())

    def shelved(self) -> Self:
        return self


@dataclass(frozen=True)
class Unreadable:
    """What stands for all that a damaged file would have held."""

    origin: str
    error: SoundloomError

    def fingerprint(self) -> str:
        raise self.error

    def describe(self) -> dict[str, Any]:
        raise self.error

    def read(self) -> Item:
        raise self.error

    def shelved(self) -> Self:
        return self


def as_unicode(name: str) -> str:
    """A file name as text that JSON can hold: bytes that are not UTF-8 become \\x and two digits."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def visible(root: Path, ending: str = "") -> Iterator[Path]:
    """Files below a folder whose names end so, sorted; hidden ones, such as those half written, are left out.

    Links to folders are not followed. A folder that cannot be read is left out with a warning.
    """
    found: list[Path] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(folder / entry.name)
                    elif entry.name.endswith(ending):
                        found.append(folder / entry.name)
        except OSError as error:
            log.warning("left out: the folder %s cannot be read: %s", printable(folder), error.strerror)
    yield from (path for path in sorted(found) if _is_file(path))


def _is_file(path: Path) -> bool:
    """Whether it is a file or a link to one, and no link that leads nowhere or back to itself."""
    try:
        return path.is_file()
    except OSError:
        return False


class Dataset(Protocol):
    """A place with examples, always in the same order."""

    def entries(self) -> Iterator[Entry]: ...


@dataclass(frozen=True)
class Selection:
    """Which items are taken, as data: a table of a TOML file says all of it.

    `only` and `without` are patterns of origins such as "*/loops/*". `where` and `unless` name fields of the metadata
    and the values, compared as text in lower case, that they must or must not have.
    """

    shortest: float = 0.0  # seconds
    longest: float = math.inf
    quietest: Annotated[float, Within(-1000, 100)] = -60.0  # dBFS that the peak must reach
    captioned: bool = False  # whether an item without captions is left out
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)
        if not 0 <= self.shortest <= self.longest:
            raise ConfigError(f"items cannot last from {self.shortest:g} to {self.longest:g} s")

    def takes_origin(self, origin: str) -> bool:
        """Whether an entry is worth reading."""
        wanted = not self.only or any(fnmatch(origin, pattern) for pattern in self.only)
        return wanted and not any(fnmatch(origin, pattern) for pattern in self.without)

    def refusal(self, item: Item) -> str:
        """Why an item is not taken, in words; empty if it is."""
        if not self.shortest <= item.seconds <= self.longest:
            return f"lasts {item.seconds:.2f} s"
        if item.audio is not None and np.abs(item.audio).max(initial=0.0) < 10 ** (self.quietest / 20):
            return f"its peak is below {self.quietest:g} dBFS"
        if self.captioned and not item.captions:
            return "has no caption"
        return self.refusal_of(item.metadata)

    def refusal_of(self, metadata: Mapping[str, Any]) -> str:
        """Why what is said about an item keeps it from being taken; empty if it does not."""
        for name, values in self.where.items():
            if not has_value(metadata, name, values):
                return f"its {name} is not {' or '.join(values)}"
        for name, values in self.unless.items():
            if has_value(metadata, name, values):
                return f"its {name} is {' or '.join(values)}"
        return ""


def has_value(metadata: Mapping[str, Any], name: str, values: Iterable[str]) -> bool:
    """Whether a field, or one of its several values, is among some."""
    found = metadata.get(name, ())
    several = found if isinstance(found, list | tuple) else (found,)
    return not {str(value).lower() for value in several}.isdisjoint(value.lower() for value in values)


@dataclass(frozen=True)
class Skipped:
    """An entry that gave no item, and why."""

    origin: str
    reason: str


def read_items(
    dataset: Dataset, selection: Selection | None = None, on_skip: Callable[[Skipped], None] = lambda skipped: None
) -> Iterator[Item]:
    """Items that the selection takes; `on_skip` hears of those that it refuses and of those that cannot be read."""
    chosen = selection or Selection()
    for entry in dataset.entries():
        if not chosen.takes_origin(entry.origin):
            continue
        try:
            item = entry.read()
        except SoundloomError as error:
            on_skip(Skipped(entry.origin, error.args[0]))
            continue
        if refusal := chosen.refusal(item):
            on_skip(Skipped(entry.origin, refusal))
        else:
            yield item


def shuffled(items: Iterable[T], size: int, rng: np.random.Generator) -> Iterator[T]:
    """Draw from a buffer of `size` items that is refilled as it is emptied; every item comes once."""
    buffer: list[T] = []
    for item in items:
        buffer.append(item)
        if len(buffer) > size:
            yield _take(buffer, rng)
    while buffer:
        yield _take(buffer, rng)


def _take(buffer: list[T], rng: np.random.Generator) -> T:
    place = int(rng.integers(len(buffer)))
    buffer[place], buffer[-1] = buffer[-1], buffer[place]
    return buffer.pop()


def read_small(path: Path) -> bytes:
    """The bytes of a file that describes an example. Raises CorruptFileError, also where it is far too long."""
    try:
        return read_limited(path, LONGEST_RECORD)
    except ValueError as error:
        raise CorruptFileError(f"{printable(path)} is too long to describe a sound: {error}") from error
    except OSError as error:
        raise CorruptFileError(f"{printable(path)} cannot be read: {error.strerror}") from error


def read_metadata(data: bytes, name: str) -> dict[str, Any]:
    """Parse the JSON object that describes an example. Raises CorruptFileError, which says `name`."""
    try:
        found = decode_json(data, LONGEST_RECORD)
    except ValueError as error:
        raise CorruptFileError(f"{name} is not JSON that can be used: {error}") from error
    if not isinstance(found, dict):
        raise CorruptFileError(f"{name} holds a {type(found).__name__}, not an object with fields")
    return found
