"""Rebuild a library from its files: each clip's file carries the record of how it was made."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.atomic import make_folder
from soundloom.audio.metadata import read_record
from soundloom.audio.read import open_audio_file
from soundloom.errors import SoundloomError
from soundloom.serving.storage.database import DamagedError, Database
from soundloom.serving.storage.events import add_event
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.storage.rows import Artifact
from soundloom.serving.storage.takes import add_artifact, add_take, get_artifact

log = logging.getLogger(__name__)
LOST = "titles, tags, notes, favorites, jobs and owners that only the database had are lost, and deleted clips are back"
NOBODY = ""  # the owner of takes whose owner is not known: only whoever runs the server sees them
_MODES = ("generate", "vary", "inpaint", "extend", "loop", "edit", "mix")  # of clips that are made here
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FoundFile:
    """A file of the object folder, and the record in it; an empty one is that of an upload."""

    artifact: Artifact
    record: dict[str, Any]

    @property
    def source(self) -> str | None:
        """The hash of the file that was edited."""
        source = self.record.get("source")
        name = source.get("name") if isinstance(source, dict) else None
        return name.partition(".")[0] if isinstance(name, str) else None


@dataclass(frozen=True)
class Opened:
    """An open database, and what was done to get it; `notice` is a sentence for users, or empty."""

    database: Database
    notice: str = ""


def open_library(folder: Path, database: str, store: ObjectStore, trash: Path, *, rebuild: bool = False) -> Opened:
    """Open the database of a data folder; rebuild it from the files if it is damaged or gone.

    With `rebuild`, also add clips that it does not know. Raises StorageError.
    """
    path, aside = folder / database, None
    is_new = not path.exists() or not path.stat().st_size  # as after a power cut on the first start
    try:
        opened = Database(path)
    except DamagedError as error:
        aside = set_aside(path)
        log.warning("%s; it is now %s", error.args[0], aside.name)
        opened, is_new = Database(path), True
    if not (is_new or rebuild):
        return Opened(opened)
    known = {row[0] for row in opened.run(lambda c: c.execute("SELECT hash FROM artifacts").fetchall()).result()}
    files = [*find_files(store, trash, known)]
    if is_new and not files and aside is None:
        return Opened(opened)  # the first start
    clips = opened.run(lambda connection: add_found(connection, files, is_new=is_new)).result()
    count = "1 clip was" if clips == 1 else f"{clips} clips were"
    notice = f"{count} added to the library from the records in the files"
    if is_new:
        why = f"was damaged and is now {aside.name}" if aside else "was missing"
        notice = f"the database of the library {why}; {notice}; {LOST}"
    log.warning("%s", notice)
    return Opened(opened, notice)


def set_aside(path: Path) -> Path:
    """Rename a database and what SQLite keeps beside it; return its new path."""
    new = path.with_name(f"{path.stem}-damaged-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
    number = 1
    while new.exists():
        number += 1
        new = new.with_name(f"{new.stem.partition('_')[0]}_{number}{path.suffix}")
    for end in ("-wal", "-shm", ""):  # the database last: until then, it is found to be damaged again
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(new.with_name(new.name + end))
    return new


def find_files(store: ObjectStore, trash: Path, known: Iterable[str] = ()) -> Iterator[FoundFile]:
    """Yield the audio files that are not known, oldest first; those that were set aside return to the store."""
    skipped = set(known)
    aside = [path for path in trash.glob("*.wav") if _NAME.fullmatch(path.stem)] if trash.is_dir() else []
    paths = [path for path in [*store.files(), *aside] if path.stem not in skipped]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        if path.stem in skipped:
            continue
        try:
            found = _read(path)
        except SoundloomError as error:
            log.warning("a file of the library cannot be read and is left out: %s", error.args[0])
            continue
        skipped.add(path.stem)
        if path.parent == trash:
            make_folder(store.path(path.stem).parent)
            path.replace(store.path(path.stem))
        yield found


def _read(path: Path) -> FoundFile:
    """Raises AudioError."""
    record, stat = read_record(path) or {}, path.stat()
    with open_audio_file(path) as (file, _):
        facts = {"rate": file.samplerate, "channels": file.channels, "samples": file.frames, "subtype": file.subtype}
    is_take = record.get("mode") in _MODES
    return FoundFile(Artifact(path.stem, stat.st_size, **facts, made=stat.st_mtime), record if is_take else {})


def add_found(connection: sqlite3.Connection, files: Iterable[FoundFile], *, is_new: bool) -> int:
    """Store files, those with a record as takes, with their families; return how many takes there are."""
    takes: dict[str, str] = {}
    for found in files:
        if not found.record:
            add_artifact(connection, found.artifact)
            continue
        source, kind = found.source, str(found.record["mode"])
        parent = (takes.get(source) or _take_of(connection, source)) if source else None
        made = found.artifact.made
        take = add_take(connection, found.artifact, found.record, kind, NOBODY, parent, made=made)
        takes[found.artifact.hash] = take.id
    if is_new:  # numbers above all that clients may have seen, so that they load everything again
        connection.execute("INSERT INTO events (id, kind, data, made) VALUES (?, 'reset', '{}', ?)", _now())
    add_event(connection, "system", {"library": "rebuilt", "clips": len(takes)})
    return len(takes)


def _take_of(connection: sqlite3.Connection, hash: str) -> str | None:
    """Return the oldest take of a file that is in the database already."""
    if get_artifact(connection, hash) is None:
        return None
    row = connection.execute("SELECT id FROM takes WHERE artifact = ? ORDER BY made", (hash,)).fetchone()
    return row[0] if row else None


def _now() -> tuple[int, float]:
    return int(time.time()), time.time()
