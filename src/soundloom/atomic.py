"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from soundloom.errors import WriteError

HINTS = {
    errno.ENOSPC: "free some space on this disk, or write elsewhere",
    errno.EDQUOT: "free some of your quota on this disk, or write elsewhere",
    errno.EACCES: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}

UNFINISHED = ".soundloom-"  # beginning of the names of files that are being written


@contextmanager
def write_faults(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a WriteError that names `path`."""
    try:
        yield
    except OSError as error:
        hint = HINTS.get(error.errno or 0, "")
        raise WriteError(f"{path} could not be written: {error.strerror or error}", hint) from error


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield an empty new file in the folder of `path`; it becomes `path` when the block ends well.

    Otherwise it is removed and what was at `path` stays. The new file has the same suffix as `path`. Without
    `overwrite` nothing that has the name is ever replaced, not even what got it while the block ran: WriteError.
    """
    if path.is_dir():
        raise WriteError(f"{path} is a folder, not a file name")
    if not path.parent.is_dir():
        raise WriteError(f"{path} cannot be written: there is no folder {path.parent}", "make it first")
    if path.exists() and not overwrite:
        raise _taken(path)
    new = path.with_name(f"{UNFINISHED}{secrets.token_hex(6)}{path.suffix}")
    with write_faults(path):
        new.touch(exist_ok=False)
    try:
        yield new
        with write_faults(path):
            if not overwrite:
                _claim(path, new)
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _claim(path: Path, new: Path) -> None:
    """Give the name to nobody but us, by a link to the finished file or, where there are no links, an empty file."""
    try:
        try:
            path.hardlink_to(new)
        except FileExistsError:
            raise
        except OSError:
            path.touch(exist_ok=False)
    except FileExistsError as error:
        raise _taken(path) from error


def _taken(path: Path) -> WriteError:
    return WriteError(f"{path} exists already", "choose another name or allow overwriting")


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left half written in a folder to which nobody else writes now."""
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for reading and writing that becomes `path` when the block ends well; makes its folder."""
    with write_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new, write_faults(path), new.open("w+b") as file:
        yield file


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder`, and of all that this holds, when the block ends well."""
    with write_faults(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=UNFINISHED))
    try:
        yield new
        with write_faults(folder):
            new.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            new.rename(folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON."""
    with atomic_file(path) as file:
        file.write((json.dumps(data, indent=2) + "\n").encode())
