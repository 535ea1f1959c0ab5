"""How much room the library has: a warning when little is left, and a refusal before a job cannot be stored."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from soundloom.errors import WriteError
from soundloom.serving.jobs.queue import QueuedJob
from soundloom.serving.storage.rows import Event
from soundloom.serving.storage.takes import stored_bytes

log = logging.getLogger(__name__)
LOW = 0.9  # of what the library may take
LOW_BYTES = 2**30  # free on the disk
RESERVE_BYTES = 2**26  # stay free for the database and other programs
PICTURES, COPIES = "peaks", "converted"  # folders of files that can be made again
DERIVED_SECONDS = 30 * 86_400.0
Call = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]
State = Literal["ok", "low", "full"]


class DiskLimitError(WriteError):
    """The library has no room for what was asked."""


@dataclass(frozen=True)
class Space:
    """Bytes: `used` by the library, `needed` by jobs that wait, `free` on a disk of `total`; `limit` is a setting."""

    used: int
    needed: int
    free: int
    total: int
    limit: int | None = None

    @property
    def allowed(self) -> int:
        """What the library may take, now and later."""
        disk = self.used + max(0, self.free - RESERVE_BYTES)
        return disk if self.limit is None else min(disk, self.limit)

    @property
    def left(self) -> int:
        return max(0, self.allowed - self.used - self.needed)

    @property
    def state(self) -> State:
        if self.used >= self.allowed:
            return "full"
        return "low" if self.used >= LOW * self.allowed or self.free < LOW_BYTES else "ok"


class Disk:
    """Measures the library in a folder; used in the event loop's thread."""

    def __init__(self, folder: Path, limit: int | None, call: Call, queue: Mapping[str, QueuedJob]) -> None:
        """`call` runs a function with the database's connection."""
        self.folder, self.limit = folder, limit
        self.other = 0  # bytes of files beside those of takes and uploads, when they were last counted
        self.tell: Callable[[str, dict[str, Any]], Awaitable[None]] | None = None
        self._call, self._queue = call, queue
        self._state: State = "ok"
        self._task: asyncio.Task[None] | None = None

    async def space(self) -> Space:
        used = self.other + await self._call(stored_bytes)
        needed = sum(queued.clips[n].bytes for queued in self._queue.values() for n in queued.unfinished)
        disk = shutil.disk_usage(self.folder)
        return Space(used, needed, disk.free, disk.total, self.limit)

    async def require(self, size: int) -> None:
        """Raise DiskLimitError if the library has no room for so many bytes."""
        space = await self.space()
        if size <= space.left:
            return
        is_limit = self.limit is not None and space.allowed == self.limit
        hint = "raise --disk-limit" if is_limit else "free some space on the disk of the server"
        raise DiskLimitError(
            f"{_shown(size)} are needed, and the library has room for {_shown(space.left)}",
            f"remove deleted clips for good (DELETE /v1/takes), or {hint}",
        )

    def observe(self, event: Event) -> None:
        """Look again when a take was made or removed."""
        if event.kind == "take":
            self.look()

    def look(self) -> None:
        """Report in the background if there is less room, or more, than before."""
        if self.tell is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._report())

    async def _report(self) -> None:
        with suppress(sqlite3.Error, OSError):
            space = await self.space()
            if space.state == self._state or self.tell is None:
                return
            self._state = space.state
            if space.state != "ok":
                log.warning("the disk of the library is %s: there is room for %s", space.state, _shown(space.left))
            facts = {"state": space.state, "used": space.used, "allowed": space.allowed, "free": space.free}
            await self.tell("system", {"disk": facts})


def clean_derived(data: Path, known: Iterable[str], trash: str) -> int:
    """Remove pictures of files that are not `known`, and old copies in other formats.

    Return the bytes that are left of these, and those of what was set aside.
    """
    hashes, before, left = set(known), time.time() - DERIVED_SECONDS, 0
    for folder in (PICTURES, COPIES, trash):
        for path in (data / folder).glob("*"):
            with suppress(OSError):
                stat = path.stat()
                is_unused = folder == PICTURES and path.stem.partition("-")[0] not in hashes
                if is_unused or (folder == COPIES and stat.st_mtime < before):
                    path.unlink()
                else:
                    left += stat.st_size
    return left


def _shown(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
