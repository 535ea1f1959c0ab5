"""Audio files named by the hash of their content."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from soundloom.atomic import make_folder, write_errors

ORPHAN_SECONDS = 3600.0  # files without a row that are younger may belong to a job that is about to end
TEMPORARY = ".part"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file of the store."""

    hash: str  # sha256
    suffix: str  # such as ".wav"
    bytes: int


class ObjectStore:
    """Read-only files `objects/ab/abcd….wav`; the same content is stored once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)

    def path(self, hash: str, suffix: str = ".wav") -> Path:
        """Return where a file of this hash is, or would be."""
        return self.folder / hash[:2] / f"{hash}{suffix}"

    @contextmanager
    def temporary(self, suffix: str = ".wav") -> Iterator[Path]:
        """Yield a path to write to, on the same disk; what is left there is removed."""
        path = self.folder / f"{uuid4().hex}{TEMPORARY}{suffix}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def add(self, path: Path) -> StoredFile:
        """Move a temporary file into the store, durably, or remove it if it is there; return its hash and size.

        Raises WriteError.
        """
        with write_errors(path):
            found = StoredFile(file_hash(path), path.suffix, path.stat().st_size)
            target = self.path(found.hash, found.suffix)
            if target.is_file() and file_hash(target) == found.hash:
                path.unlink()  # the same file stays, since others may be reading it
                return found
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb+") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
            path.replace(target)
            sync_folder(target.parent)
        return found

    def files(self) -> Iterator[Path]:
        """Yield all complete files."""
        yield from (path for path in self.folder.glob("??/*") if path.is_file())

    def set_aside_orphans(self, known: set[str], trash: Path) -> list[Path]:
        """Move old files whose hash is unknown, and temporary ones, to `trash`; return where they are now."""
        before, moved = time.time() - ORPHAN_SECONDS, []
        left = [path for path in self.folder.glob(f"*{TEMPORARY}*") if path.is_file()]
        for path in [*left, *self.files()]:
            if path.stem not in known and path.stat().st_mtime < before:
                make_folder(trash)
                moved.append(path.replace(trash / path.name))
        return moved


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
