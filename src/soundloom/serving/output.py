"""The output folder: finished takes as plain files with names for people, for file managers and audio workstations.

The library is complete without it, so nothing that goes wrong here fails a job. A file that is no longer the take's,
because somebody edited or replaced it, is never touched.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from soundloom.atomic import atomic_path, make_folder
from soundloom.config.file_names import MAX_NAME_BYTES, ClipFacts, fill_pattern
from soundloom.errors import RequestError, SoundloomError, WriteError, shown
from soundloom.serving.display_names import display_name
from soundloom.serving.storage.objects import ObjectStore, file_hash
from soundloom.serving.storage.output_names import is_name_taken, place_in_job, set_file_name, takes_to_place
from soundloom.serving.storage.rows import Event, Take
from soundloom.serving.storage.takes import change_take, get_take

log = logging.getLogger(__name__)
PATTERN = "{prompt}-{seed}"
SUFFIX = ".wav"
MAX_STEM_BYTES = MAX_NAME_BYTES - 30  # room for a number, the suffix and the names of temporary files
STOP_SECONDS = 2.0
Call = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]
Identity = tuple[int, int]
Tell = Callable[[str, dict[str, Any]], Awaitable[None]]


def require_pattern(pattern: str) -> str:
    """Return the pattern of names without its suffix. Raises RequestError for one that names no WAV file."""
    stem = pattern[: -len(SUFFIX)] if pattern.lower().endswith(SUFFIX) else pattern
    filled = fill_pattern("--name", stem, [ClipFacts("rain, 120 BPM, A minor", "rain", 7)], "mini", 0, 1)[0]
    if not filled.strip(". ") or {"/", "\\", "\0"} & {*filled}:
        raise RequestError(f"--name {shown(repr(pattern))} is not the name of a file", "name the folder with --output")
    return stem


def stem_of(take: Take, pattern: str = PATTERN, number: int = 0, count: int = 1) -> str:
    """Return the name of a take's file without its suffix: its title, or one by the pattern."""
    if take.title.strip():
        return _safe(take.title)
    facts = ClipFacts.of_record(take.record)
    facts = facts if facts.text else replace(facts, text=take.kind)
    pattern = pattern if facts.seed is not None else pattern.replace("-{seed}", "").replace("{seed}", take.id)
    model = str(take.record.get("model") or "model")
    try:
        return _safe(fill_pattern("--name", pattern, [facts], model, number, max(count, number + 1))[0])
    except RequestError:  # a clip without tempo or key has no value for {bpm} or {key}
        return _safe(fill_pattern("--name", "{prompt}", [facts], model, 0, 1)[0])


def _safe(text: str) -> str:
    """Return text as a file name that every system accepts."""
    name = display_name(re.sub(r"[/\\]", "-", text))
    while len(os.fsencode(name)) > MAX_STEM_BYTES:
        name = name[:-1]
    return name.rstrip(". ") or "clip"


class OutputFiles:
    """The files of a folder; `store` has the originals."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self.folder, self.store = folder, store

    def holds(self, name: str, hash: str) -> bool:
        """Whether the file of this name still is that of an artifact."""
        path, source = self.folder / name, self.store.path(hash)
        try:
            if source.exists() and path.samefile(source):
                return True
            is_like = not source.exists() or path.stat().st_size == source.stat().st_size
            return is_like and path.is_file() and file_hash(path) == hash
        except OSError:
            return False

    def place(self, name: str, hash: str) -> bool:
        """Put a file into the folder; return False if another file has its name. Raises WriteError."""
        path, source = self.folder / name, self.store.path(hash)
        make_folder(self.folder)
        if self.holds(name, hash):
            return True  # it was placed before the server stopped, or the database is new
        if os.path.lexists(path):
            return False
        try:
            path.hardlink_to(source)
        except FileExistsError:
            return False
        except OSError:  # another disk, or a file system without links
            with atomic_path(path, overwrite=False) as new:
                shutil.copyfile(source, new)
        return True

    def rename(self, old: str, new: str) -> bool:
        """Rename a file; return False if another file has the new name. Raises OSError."""
        if os.path.lexists(self.folder / new) and old.lower() != new.lower():
            return False
        (self.folder / old).rename(self.folder / new)
        return True

    def linked_names(self) -> dict[Identity | None, str]:
        """Return the names of the files in the folder that have several links."""
        found: dict[Identity | None, str] = {}
        with suppress(OSError):
            for path in sorted(self.folder.glob(f"*{SUFFIX}")):
                stat = path.stat()
                if stat.st_nlink > 1:
                    found[stat.st_dev, stat.st_ino] = path.name
        return found

    def identity(self, hash: str) -> Identity | None:
        """Return what all links to a stored file have in common; None if it is missing."""
        try:
            stat = self.store.path(hash).stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


def adopt_files(connection: sqlite3.Connection, files: OutputFiles, pattern: str) -> None:
    """Give takes of a library that was rebuilt the files that they had, and titles that only the files' names tell.

    Only links are recognized: reading all copies would take too long.
    """
    names = files.linked_names()
    for id in takes_to_place(connection):
        take = get_take(connection, id)
        name = names.get(files.identity(take.artifact.hash)) if take else None
        if take is None or name is None or is_name_taken(connection, name, take.id):
            continue
        set_file_name(connection, take.id, name)
        if "{n" not in pattern and not _has_stem(name, stem_of(take, pattern)):
            change_take(connection, take.id, title=re.sub(r" \(\d+\)$", "", name.removesuffix(SUFFIX)))


class Output:
    """Keeps the output folder as the library is, one take after the other; used in the event loop's thread."""

    def __init__(self, files: OutputFiles | None, pattern: str, call: Call, tell: Tell) -> None:
        """Without files, do nothing. `call` runs a function with the database's connection, `tell` stores an event."""
        self.files, self.pattern = files, pattern
        self.problem = ""  # why the last take could not be placed
        self._call, self._tell = call, tell
        self._takes: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def observe(self, event: Event) -> None:
        """Note the take of an event."""
        if event.kind == "take":
            self.note(event.data["id"])

    def note(self, take: str) -> None:
        """Note a take that is new or changed."""
        if self.files is not None and self._task is not None:
            self._takes.put_nowait(take)

    async def start(self) -> None:
        """Start, with the takes that were not placed before."""
        if self.files is None:
            return
        for take in await self._call(takes_to_place):
            self._takes.put_nowait(take)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Place what waits, but not for long: the rest is placed after the next start."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._takes.join(), STOP_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            take = await self._takes.get()
            try:
                await self._update(take)
                problem = ""
            except (SoundloomError, OSError, sqlite3.Error) as error:
                problem = str(error.args[0]) if isinstance(error, SoundloomError) else str(error)
            if problem != self.problem:
                self.problem = problem
                if problem:
                    log.warning("take %s is not in the output folder: %s", take, problem)
                with suppress(sqlite3.Error):
                    await self._tell("system", {"output": "failed" if problem else "works"})
            self._takes.task_done()

    async def _update(self, id: str) -> None:
        """Make the file of a take what it should be. Raises SoundloomError or OSError."""
        take = await self._call(lambda connection: get_take(connection, id))
        if self.files is None or take is None:
            return
        if take.deleted is not None:
            await self._remove(self.files, take)
            return
        number, count = await self._call(lambda connection: place_in_job(connection, id))
        stem = stem_of(take, self.pattern, number, count)
        if take.file is not None and _has_stem(take.file, stem):
            return
        if take.file is not None and not await asyncio.to_thread(self.files.holds, take.file, take.artifact.hash):
            return  # somebody renamed, edited or deleted it, and knows why
        name = await self._free(self.files, take, stem)
        await self._call(lambda connection: set_file_name(connection, id, name))

    async def _remove(self, files: OutputFiles, take: Take) -> None:
        if take.file is None:
            return
        if await asyncio.to_thread(files.holds, take.file, take.artifact.hash):
            await asyncio.to_thread(files.remove, take.file)
        await self._call(lambda connection: set_file_name(connection, take.id, None))

    async def _free(self, files: OutputFiles, take: Take, stem: str) -> str:
        """Place or rename the file of a take, under the first name that is free, and return the name."""
        if not files.store.path(take.artifact.hash).is_file():
            raise WriteError("its audio file is missing in the library")
        number = 1
        while True:
            name = f"{stem}{'' if number == 1 else f' ({number})'}{SUFFIX}"
            number += 1
            if await self._call(partial(is_name_taken, name=name, other_than=take.id)):
                continue
            if take.file is None:
                done = await asyncio.to_thread(files.place, name, take.artifact.hash)
            else:
                done = await asyncio.to_thread(files.rename, take.file, name)
            if done:
                return name


def _has_stem(name: str, stem: str) -> bool:
    """Whether a name is this one, or this one with a number because it was taken."""
    found = name.removesuffix(SUFFIX)
    return found == stem or re.fullmatch(re.escape(stem) + r" \(\d+\)", found) is not None
