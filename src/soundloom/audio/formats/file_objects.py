"""Read audio from file objects, and write to them through a temporary file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from soundloom.atomic import name_in_errors, temporary_folder, write_errors
from soundloom.audio.formats.containers import CONTAINERS
from soundloom.errors import AudioError, shown


class Readable(Protocol):
    """A binary file object for reading."""

    def read(self) -> bytes: ...


class Writable(Protocol):
    """A binary file object for writing."""

    def write(self, data: bytes, /) -> Any: ...


class Contents(BytesIO):
    """The remaining bytes of a file object in memory, with its name."""

    def __init__(self, file: Readable) -> None:
        self.name = name_of(file)
        if not callable(getattr(file, "read", None)):
            raise AudioError(f"a clip can be loaded from a path or a file object, not {type(file).__name__}")
        data = file.read()
        if not isinstance(data, bytes):
            raise AudioError(f"{self.name} returns {type(data).__name__}, not bytes", 'open it in binary mode, "rb"')
        super().__init__(data)


def name_of(file: object) -> str:
    """Return the name of a file object for messages."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name else "the file object"


def suffix_for(file: object, format: str | None) -> str:
    """Return the suffix of a format ("wav", ".wav" or "WAV"), by default that of the file object's name."""
    suffix = Path(name_of(file)).suffix if format is None else f".{format.lstrip('.')}"
    if suffix.lower() not in CONTAINERS:
        known = ", ".join(name.lstrip(".") for name in CONTAINERS)
        if format is None:
            raise AudioError(f"the name of {name_of(file)} has no format", f"pass format, one of {known}")
        raise AudioError(f"the format {shown(format)!r} cannot be written", f"use {known}")
    return suffix.lower()


@contextmanager
def writing_to(file: Writable, format: str | None) -> Iterator[Path]:
    """Yield the path of a temporary file in `format`, which is copied to `file` when the block succeeds."""
    if not callable(getattr(file, "write", None)):
        raise AudioError(f"a clip can be saved to a path or a file object, not {type(file).__name__}")
    suffix, name = suffix_for(file, format), name_of(file)
    with temporary_folder() as folder:
        path = folder / f"audio{suffix}"
        with name_in_errors(path, name):
            yield path
        try:
            with path.open("rb") as written, write_errors(Path(name)):
                shutil.copyfileobj(written, file)
        except TypeError as error:
            raise AudioError(f"{name} does not accept bytes", 'open it in binary mode, "wb"') from error
