"""Sound files in file objects instead of folders: read from memory, written by way of a temporary file."""

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
    """A file that is open in binary mode, or what reads like one."""

    def read(self) -> bytes: ...


class Writable(Protocol):
    """A file that is open in binary mode, or what is written to like one."""

    def write(self, data: bytes, /) -> Any: ...


class Contents(BytesIO):
    """The rest of a file object in memory, under its name."""

    def __init__(self, file: Readable) -> None:
        self.name = name_of(file)
        if not callable(getattr(file, "read", None)):
            raise AudioError(f"a clip is loaded from a path or a file object, not {type(file).__name__}")
        data = file.read()
        if not isinstance(data, bytes):
            raise AudioError(f"{self.name} gives {type(data).__name__}, not bytes", 'open it in binary mode, "rb"')
        super().__init__(data)


def name_of(file: object) -> str:
    """What messages call a file object: by its own name if it has one."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name else "the file object"


def ending_for(file: object, format: str | None) -> str:
    """Return the ending of a format ("wav", ".wav" or "WAV"), by default that of the file object's own name."""
    ending = Path(name_of(file)).suffix if format is None else f".{format.lstrip('.')}"
    if ending.lower() not in CONTAINERS:
        known = ", ".join(name.lstrip(".") for name in CONTAINERS)
        if format is None:
            raise AudioError(f"the name of {name_of(file)} does not say a format", f"give format=, one of {known}")
        raise AudioError(f"no format named {shown(format)!r} can be written", f"choose {known}")
    return ending.lower()


@contextmanager
def writing_to(file: Writable, format: str | None) -> Iterator[Path]:
    """Yield the path of a temporary file of that format; what is in it goes to `file` when the block ends well."""
    if not callable(getattr(file, "write", None)):
        raise AudioError(f"a clip is saved to a path or a file object, not {type(file).__name__}")
    ending, name = ending_for(file, format), name_of(file)
    with temporary_folder() as folder:
        path = folder / f"sound{ending}"
        with name_in_errors(path, name):
            yield path
        try:
            with path.open("rb") as made, write_errors(Path(name)):
                shutil.copyfileobj(made, file)
        except TypeError as error:
            raise AudioError(f"{name} does not take bytes", 'open it in binary mode, "wb"') from error
