"""Examples, the entries that load them, and selections: what all datasets share.

A dataset is a sequence of entries. An entry knows its origin and a fingerprint of its content; `read` loads the
example, which holds audio or latents. Entries that cannot be read are reported and skipped, never replaced.
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
from soundloom.errors import ConfigError, CorruptFileError, SoundloomError, printable, utf8_name
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json
from soundloom.untrusted.limits import read_limited

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Example:
    """One example: audio (channels, samples) or latents (channels, frames), with captions and metadata.

    `origin` is unique within a dataset. `seconds` is the length of the original sound. `metadata` holds all fields
    stored beside the sound, captions included.
    """

    origin: str
    captions: tuple[str, ...]
    seconds: float
    audio: NDArray[np.float32] | None = None
    sample_rate: int = 0
    latents: NDArray[np.float32] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class FileEntry(Protocol):
    """An example that has not been read yet. All methods raise SoundloomError when its files cannot be read."""

    @property
    def origin(self) -> str: ...

    def fingerprint(self) -> str:
        """Hash of the audio or latents, without metadata."""
        ...

    def read_metadata(self) -> dict[str, Any]:
        """Metadata, without reading the sound."""
        ...

    def read(self) -> Example: ...

    def without_data(self) -> FileEntry:
        """A copy that holds no data that can be read again, so that many entries fit in memory."""
        ...


@dataclass(frozen=True)
class LocalFile:
    """A file below a dataset's folder; its relative path is its origin."""

    root: Path
    path: Path

    @property
    def origin(self) -> str:
        return utf8_name(self.path.relative_to(self.root).as_posix())

    def without_data(self) -> Self:
        return self


@dataclass(frozen=True)
class Unreadable:
    """The entry of a damaged file: every method raises its error."""

    origin: str
    error: SoundloomError

    def fingerprint(self) -> str:
        raise self.error

    def read_metadata(self) -> dict[str, Any]:
        raise self.error

    def read(self) -> Example:
        raise self.error

    def without_data(self) -> Self:
        return self


def list_files(root: Path, ending: str = "") -> Iterator[Path]:
    """Yield files below a folder with this ending, sorted, without hidden ones (temporary files are hidden).

    Links to folders are not followed. A folder that cannot be read is skipped with a warning.
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
            log.warning("skipped: the folder %s cannot be read: %s", printable(folder), error.strerror)
    yield from (path for path in sorted(found) if _is_file(path))


def _is_file(path: Path) -> bool:
    """`Path.is_file`, but False for links that lead back to themselves."""
    try:
        return path.is_file()
    except OSError:
        return False


class Dataset(Protocol):
    """A sequence of entries, in the same order each time."""

    def entries(self) -> Iterator[FileEntry]: ...


@dataclass(frozen=True)
class Selection:
    """Filters on examples; a TOML table can state all of them.

    `include` and `exclude` are patterns of origins such as "*/loops/*". `where` and `where_not` map metadata fields to
    accepted or rejected values, compared as lower-case text.
    """

    min_seconds: float = 0.0
    max_seconds: float = math.inf
    min_peak_db: Annotated[float, Within(-1000, 100)] = -60.0  # dBFS
    captioned: bool = False  # skip examples without captions
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where_not: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise ConfigError(f"min_seconds {self.min_seconds:g} and max_seconds {self.max_seconds:g} are no range")

    def accepts_origin(self, origin: str) -> bool:
        """Whether `include` and `exclude` admit an entry."""
        wanted = not self.include or any(fnmatch(origin, pattern) for pattern in self.include)
        return wanted and not any(fnmatch(origin, pattern) for pattern in self.exclude)

    def rejection(self, example: Example) -> str:
        """Return why an example is rejected, or an empty string."""
        if not self.min_seconds <= example.seconds <= self.max_seconds:
            return f"lasts {example.seconds:.2f} s"
        if example.audio is not None and np.abs(example.audio).max(initial=0.0) < 10 ** (self.min_peak_db / 20):
            return f"its peak is below {self.min_peak_db:g} dBFS"
        if self.captioned and not example.captions:
            return "has no caption"
        return self.metadata_rejection(example.metadata)

    def metadata_rejection(self, metadata: Mapping[str, Any]) -> str:
        """Return why `where` or `where_not` rejects an example with this metadata, or an empty string."""
        for name, values in self.where.items():
            if not has_any_value(metadata, name, values):
                return f"its {name} is not {' or '.join(values)}"
        for name, values in self.where_not.items():
            if has_any_value(metadata, name, values):
                return f"its {name} is {' or '.join(values)}"
        return ""


def has_any_value(metadata: Mapping[str, Any], name: str, values: Iterable[str]) -> bool:
    """Whether a field holds one of these values; a list matches by any element."""
    found = metadata.get(name, ())
    several = found if isinstance(found, list | tuple) else (found,)
    return not {str(value).lower() for value in several}.isdisjoint(value.lower() for value in values)


@dataclass(frozen=True)
class Skipped:
    """An entry that was not used, and why."""

    origin: str
    reason: str


def read_examples(
    dataset: Dataset, selection: Selection | None = None, on_skip: Callable[[Skipped], None] = lambda skipped: None
) -> Iterator[Example]:
    """Yield the selected examples; call `on_skip` for those that are rejected or cannot be read."""
    chosen = selection or Selection()
    for entry in dataset.entries():
        if not chosen.accepts_origin(entry.origin):
            continue
        try:
            example = entry.read()
        except SoundloomError as error:
            on_skip(Skipped(entry.origin, error.args[0]))
            continue
        if rejection := chosen.rejection(example):
            on_skip(Skipped(entry.origin, rejection))
        else:
            yield example


def shuffled(items: Iterable[T], size: int, rng: np.random.Generator) -> Iterator[T]:
    """Yield every item once, in random order within a shuffle buffer of `size` items."""
    buffer: list[T] = []
    for item in items:
        buffer.append(item)
        if len(buffer) > size:
            yield _pop_random(buffer, rng)
    while buffer:
        yield _pop_random(buffer, rng)


def _pop_random(buffer: list[T], rng: np.random.Generator) -> T:
    index = int(rng.integers(len(buffer)))
    buffer[index], buffer[-1] = buffer[-1], buffer[index]
    return buffer.pop()


def read_small_file(path: Path) -> bytes:
    """Read a metadata file of limited length. Raises CorruptFileError."""
    try:
        return read_limited(path, MAX_RECORD_BYTES)
    except ValueError as error:
        raise CorruptFileError(f"{printable(path)} is too long for a metadata file: {error}") from error
    except OSError as error:
        raise CorruptFileError(f"{printable(path)} cannot be read: {error.strerror}") from error


def parse_metadata(data: bytes, name: str) -> dict[str, Any]:
    """Parse the metadata of an example, a JSON object. Raises CorruptFileError, which states `name`."""
    try:
        found = decode_json(data, MAX_RECORD_BYTES)
    except ValueError as error:
        raise CorruptFileError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise CorruptFileError(f"{name} holds a {type(found).__name__}, not a JSON object")
    return found
