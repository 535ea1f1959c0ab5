"""Files and folders that appear whole or not at all, also after a kill or a power cut."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from soundloom.errors import SoundloomError, WriteError
from soundloom.leftovers import remove, remove_stale, unfinished_name

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HINTS = {
    errno.ENOSPC: "free some space on this disk, or write elsewhere",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or write elsewhere",
    errno.EDQUOT: "free some of your quota on this disk, or write elsewhere",
    errno.EACCES: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}


@contextmanager
def write_faults(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a WriteError that names `path`."""
    try:
        yield
    except OSError as error:
        hint = HINTS.get(error.errno or 0, "")
        raise WriteError(f"{path} could not be written: {error.strerror or error}", hint) from error


@contextmanager
def called(path: Path, name: Path | str) -> Iterator[None]:
    """Say the name that people know, where an error of the block names what has only `path` as yet."""
    try:
        yield
    except SoundloomError as error:
        error.args = (str(error.args[0]).replace(str(path), str(name)), *error.args[1:])
        raise


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield an empty new file in the folder of `path`; it becomes `path` when the block ends well.

    Otherwise it is removed and what was at `path` stays. The new file has the same suffix as `path`. Without
    `overwrite` nothing that has the name is ever replaced, not even what got it while the block ran: WriteError.
    The contents are on disk before the file gets its name, and the name is when this returns.
    """
    if path.is_dir():
        raise WriteError(f"{path} is a folder, not a file name")
    if not path.parent.is_dir():
        raise WriteError(f"{path} cannot be written: there is no folder {path.parent}", "make it first")
    if path.exists() and not overwrite:
        raise _taken(path)
    remove_stale(path.parent)
    new = path.with_name(unfinished_name("file", path.suffix))
    try:
        with write_faults(path):
            new.touch(exist_ok=False)
        yield new
        with write_faults(path):
            sync_file(new)
            if not overwrite:
                _claim(path, new)
            new.replace(path)
            sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Publish files that belong together: other processes that do the same in this folder wait until the block ends.

    Where a folder cannot be locked, as on some network disks, nobody waits.
    """
    if fcntl is None:
        yield
        return
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def sync_file(path: Path) -> None:
    """Return when the contents of a file are on disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk, where the system can tell."""
    if os.name == "nt":
        return
    # Folders that may not be read, and file systems that have no such thing, say so in several ways.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
    remove_stale(folder.parent)
    new = folder.parent / unfinished_name("folder")
    old = folder.parent / unfinished_name("replaced") / folder.name  # its name, for `remove_stale` after a kill
    try:
        with write_faults(folder):
            new.mkdir()
        with called(new, folder):
            yield new
        with write_faults(folder):
            if folder.exists():
                old.parent.mkdir()
                folder.rename(old)
            new.rename(folder)
            sync_folder(folder.parent)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        remove(new)
        if folder.exists():  # else the older one, if there was one, is all that there is
            remove(old.parent)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that goes when the block ends or, after a kill, when the next of them is made."""
    with write_faults(Path("a temporary file")):
        place = Path(tempfile.gettempdir())
        remove_stale(place)
        folder = place / unfinished_name("folder")
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON."""
    with atomic_file(path) as file:
        file.write((json.dumps(data, indent=2) + "\n").encode())
