"""Write files and folders atomically: they appear complete or not at all, even after a kill or a power cut."""

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
from soundloom.temporary import remove, remove_stale, temporary_name

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HINTS = {
    errno.ENOSPC: "free some space on this disk, or write elsewhere",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or write elsewhere",
    errno.EDQUOT: "free some of your quota on this disk, or write elsewhere",
    errno.EACCES: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a WriteError that names `path`."""
    try:
        yield
    except OSError as error:
        hint = HINTS.get(error.errno or 0, "")
        raise WriteError(f"{path} could not be written: {error.strerror or error}", hint) from error


@contextmanager
def name_in_errors(path: Path, name: Path | str) -> Iterator[None]:
    """In errors of the block, replace the temporary `path` by the final name that users know."""
    try:
        yield
    except SoundloomError as error:
        error.args = (str(error.args[0]).replace(str(path), str(name)), *error.args[1:])
        raise


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they do not exist. Raises WriteError."""
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def atomic_path(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield an empty new file in the folder of `path` that is renamed to `path` when the block succeeds.

    When the block raises, the new file is removed and `path` stays as it was. The new file has the suffix of `path`.
    Without `overwrite`, an existing file is never replaced, not even one created while the block ran: WriteError.
    Both contents and name are on disk when this returns.
    """
    if path.is_dir():
        raise WriteError(f"{path} is a folder, not a file name")
    if not path.parent.is_dir():
        raise WriteError(f"{path} cannot be written: there is no folder {path.parent}", "create the folder first")
    if path.exists() and not overwrite:
        raise _exists(path)
    remove_stale(path.parent)
    new = path.with_name(temporary_name("file", path.suffix))
    try:
        with write_errors(path):
            new.touch(exist_ok=False)
        yield new
        with write_errors(path):
            sync_file(new)
            if not overwrite:
                _claim(path, new)
            new.replace(path)
            sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder while several files are published together; other processes that lock it wait.

    Does nothing where folders cannot be locked: on Windows and some network disks.
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
    """Flush a file's contents to disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system supports it."""
    if os.name == "nt":
        return
    # Unreadable folders and file systems without this feature raise various errors.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _claim(path: Path, new: Path) -> None:
    """Create `path` if it does not exist: as a link to the finished file, or empty where links are not supported."""
    try:
        try:
            path.hardlink_to(new)
        except FileExistsError:
            raise
        except OSError:
            path.touch(exist_ok=False)
    except FileExistsError as error:
        raise _exists(path) from error


def _exists(path: Path) -> WriteError:
    return WriteError(f"{path} already exists", "choose another name or allow overwriting")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for reading and writing that becomes `path` when the block succeeds; creates its folder."""
    make_folder(path.parent)
    with atomic_path(path) as new, write_errors(path), new.open("w+b") as file:
        yield file


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` and all its contents when the block succeeds."""
    make_folder(folder.parent)
    remove_stale(folder.parent)
    new = folder.parent / temporary_name("folder")
    old = folder.parent / temporary_name("replaced") / folder.name  # `remove_stale` restores this name after a kill
    try:
        with write_errors(folder):
            new.mkdir()
        with name_in_errors(new, folder):
            yield new
        with write_errors(folder):
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
        if folder.exists():  # else `old` may be the only copy
            remove(old.parent)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder and remove it afterwards; after a kill, the next call removes it."""
    with write_errors(Path("a temporary file")):
        parent = Path(tempfile.gettempdir())
        remove_stale(parent)
        folder = parent / temporary_name("folder")
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON."""
    with atomic_file(path) as file:
        file.write((json.dumps(data, indent=2) + "\n").encode())
