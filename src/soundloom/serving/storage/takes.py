"""Takes, their tags and their files in the database: functions that take its connection."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from soundloom.audio.records import recorded_prompt
from soundloom.serving.storage.migrations import has_text_search
from soundloom.serving.storage.rows import ENDED, Artifact, Take, artifact_of, dump_json, load_json, new_id

KEPT_SECONDS = 30 * 86_400.0  # of deleted takes
_TAKES = """
SELECT takes.*, artifacts.*, takes.made AS take_made, artifacts.made AS artifact_made,
    (SELECT group_concat(tag, char(10)) FROM (SELECT tag FROM tags WHERE take = takes.id ORDER BY tag)) AS tag_list
FROM takes JOIN artifacts ON artifacts.hash = takes.artifact
"""
Order = Literal["newest", "oldest", "title"]
_ORDERS: dict[Order, str] = {"newest": "takes.made DESC", "oldest": "takes.made", "title": "takes.title, takes.made"}


@dataclass(frozen=True)
class Search:
    """Which takes to list. `text` finds words of title, prompt, tags and note, the last one also by its beginning."""

    text: str = ""
    tags: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    favorite: bool | None = None
    deleted: bool = False
    parent: str | None = None
    client: str | None = None
    order: Order = "newest"
    limit: int = 100
    offset: int = 0


def add_artifact(connection: sqlite3.Connection, artifact: Artifact) -> None:
    """Store the facts about a file; the same content may come again."""
    connection.execute(
        "INSERT INTO artifacts (hash, bytes, rate, channels, samples, subtype, name, made) VALUES (?,?,?,?,?,?,?,?) "
        "ON CONFLICT (hash) DO UPDATE SET missing = 0",
        (
            *(artifact.hash, artifact.bytes, artifact.rate, artifact.channels, artifact.samples, artifact.subtype),
            *(artifact.name, artifact.made or time.time()),
        ),
    )


def get_artifact(connection: sqlite3.Connection, hash: str) -> Artifact | None:
    row = connection.execute("SELECT *, made AS artifact_made FROM artifacts WHERE hash = ?", (hash,)).fetchone()
    return None if row is None else artifact_of(row)


def add_take(
    connection: sqlite3.Connection,
    artifact: Artifact,
    record: dict[str, Any],
    kind: str,
    client: str,
    parent: str | None = None,
    title: str = "",
    *,
    made: float | None = None,
) -> Take:
    """Store a take, made now or at a time that is known, and its file's facts."""
    add_artifact(connection, artifact)
    made = time.time() if made is None else made
    take = Take(new_id(), artifact, record, recorded_prompt(record), kind, client, made, parent, title)
    connection.execute(
        "INSERT INTO takes (id, artifact, record, prompt, parent, kind, client, title, made) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (take.id, artifact.hash, dump_json(record), take.prompt, parent, kind, client, title, take.made),
    )
    _index(connection, take.id)
    return take


def get_take(connection: sqlite3.Connection, take: str) -> Take | None:
    row = connection.execute(f"{_TAKES} WHERE takes.id = ?", (take,)).fetchone()
    return None if row is None else _take_of(row)


def list_takes(connection: sqlite3.Connection, search: Search) -> tuple[list[Take], int]:
    """Return the takes of a page, and how many there are in all."""
    conditions, values = _conditions(connection, search)
    where = f"WHERE {' AND '.join(conditions)}"
    count = connection.execute(f"SELECT count(*) FROM takes {where}", values).fetchone()[0]
    query = f"{_TAKES} {where} ORDER BY {_ORDERS[search.order]}, takes.id LIMIT ? OFFSET ?"
    rows = connection.execute(query, (*values, search.limit, search.offset))
    return [_take_of(row) for row in rows], count


def lineage(connection: sqlite3.Connection, take: str) -> list[Take]:
    """Return a take, all that it was made from, and all that was made from any of these, oldest first."""
    query = f"""
    WITH RECURSIVE
        above (id) AS (SELECT ? UNION SELECT parent FROM takes JOIN above USING (id) WHERE parent IS NOT NULL),
        family (id) AS (SELECT id FROM above UNION SELECT takes.id FROM takes JOIN family ON takes.parent = family.id)
    {_TAKES} JOIN family ON family.id = takes.id ORDER BY takes.made
    """
    return [_take_of(row) for row in connection.execute(query, (take,))]


def change_take(
    connection: sqlite3.Connection,
    take: str,
    *,
    title: str | None = None,
    note: str | None = None,
    favorite: bool | None = None,
    tags: Sequence[str] | None = None,
) -> None:
    """Change what is given."""
    given = {"title": title, "note": note, "favorite": favorite}
    for name, value in given.items():
        if value is not None:
            connection.execute(f"UPDATE takes SET {name} = ? WHERE id = ?", (value, take))
    if tags is not None:
        connection.execute("DELETE FROM tags WHERE take = ?", (take,))
        connection.executemany("INSERT INTO tags VALUES (?, ?)", [(take, tag) for tag in dict.fromkeys(tags)])
    _index(connection, take)


def delete_take(connection: sqlite3.Connection, take: str) -> None:
    """Mark a take as deleted; `purge` removes it later."""
    connection.execute("UPDATE takes SET deleted = ? WHERE id = ? AND deleted IS NULL", (time.time(), take))


def restore_take(connection: sqlite3.Connection, take: str) -> None:
    connection.execute("UPDATE takes SET deleted = NULL WHERE id = ?", (take,))


def purge(connection: sqlite3.Connection, before: float) -> list[str]:
    """Remove takes that were deleted before a time; return the hashes of files that nothing uses any more."""
    gone = [row[0] for row in connection.execute("SELECT id FROM takes WHERE deleted < ?", (before,))]
    _remove(connection, gone)
    unused = "SELECT hash FROM artifacts WHERE made < ? AND hash NOT IN (SELECT artifact FROM takes)"
    hashes = [row[0] for row in connection.execute(unused, (before,))]
    connection.executemany("DELETE FROM artifacts WHERE hash = ?", [(hash,) for hash in hashes])
    return hashes


def purge_deleted(connection: sqlite3.Connection, owner: str | None) -> tuple[int, list[Artifact]]:
    """Remove all deleted takes, or those of an owner, except the sources of jobs that wait.

    Return how many they were, and the files that nothing uses any more.
    """
    marks = ",".join("?" * len(ENDED))
    bodies = connection.execute(f"SELECT body FROM jobs WHERE state NOT IN ({marks})", ENDED)
    needed = {load_json(row[0]).get("source") for row in bodies}
    rows = connection.execute(f"{_TAKES} WHERE takes.deleted IS NOT NULL AND (? IS NULL OR client = ?)", (owner, owner))
    takes = [take for take in map(_take_of, rows) if not {take.id, take.artifact.hash} & needed]
    _remove(connection, [take.id for take in takes])
    unused = []
    for artifact in {take.artifact.hash: take.artifact for take in takes}.values():
        if not connection.execute("SELECT 1 FROM takes WHERE artifact = ?", (artifact.hash,)).fetchone():
            connection.execute("DELETE FROM artifacts WHERE hash = ?", (artifact.hash,))
            unused.append(artifact)
    return len(takes), unused


def _remove(connection: sqlite3.Connection, takes: Sequence[str]) -> None:
    for take in takes:
        connection.execute("UPDATE items SET take = NULL WHERE take = ?", (take,))
        _unindex(connection, take)
        connection.execute("DELETE FROM takes WHERE id = ?", (take,))


def stored_bytes(connection: sqlite3.Connection) -> int:
    """Return how many bytes all files have."""
    return int(connection.execute("SELECT coalesce(sum(bytes), 0) FROM artifacts WHERE NOT missing").fetchone()[0])


def mark_missing(connection: sqlite3.Connection, present: Iterable[str]) -> list[str]:
    """Mark the files that are gone from the object folder, and those that are back; return the hashes of the gone."""
    found = set(present)
    known = [row[0] for row in connection.execute("SELECT hash FROM artifacts")]
    connection.executemany(
        "UPDATE artifacts SET missing = ? WHERE hash = ?", [(hash not in found, hash) for hash in known]
    )
    return [hash for hash in known if hash not in found]


def _take_of(row: sqlite3.Row) -> Take:
    same = ("id", "prompt", "kind", "client", "parent", "title", "note", "deleted", "file")
    return Take(
        **{name: row[name] for name in same},
        artifact=artifact_of(row),
        record=load_json(row["record"]),
        made=row["take_made"],
        favorite=bool(row["favorite"]),
        tags=tuple(row["tag_list"].split("\n")) if row["tag_list"] else (),
    )


def _conditions(connection: sqlite3.Connection, search: Search) -> tuple[list[str], list[Any]]:
    conditions, values = [f"takes.deleted IS {'NOT ' if search.deleted else ''}NULL"], list[Any]()
    if search.favorite is not None:
        conditions.append("takes.favorite = ?")
        values.append(search.favorite)
    if search.parent is not None:
        conditions.append("takes.parent = ?")
        values.append(search.parent)
    if search.client is not None:
        conditions.append("takes.client = ?")
        values.append(search.client)
    if search.kinds:
        conditions.append(f"takes.kind IN ({','.join('?' * len(search.kinds))})")
        values += search.kinds
    for tag in search.tags:
        conditions.append("takes.id IN (SELECT take FROM tags WHERE tag = ?)")
        values.append(tag)
    for word in search.text.replace("\0", " ").split():  # FTS5 reads only up to a NUL
        if has_text_search(connection):
            conditions.append("takes.id IN (SELECT take FROM takes_text WHERE takes_text MATCH ?)")
            values.append('"' + word.replace('"', '""') + '"*')
        else:
            conditions.append("takes.title || ' ' || takes.prompt || ' ' || takes.note LIKE ? ESCAPE '\\'")
            values.append("%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
    return conditions, values


def _index(connection: sqlite3.Connection, take: str) -> None:
    """Update what text search knows about a take."""
    if not has_text_search(connection):
        return
    _unindex(connection, take)
    query = (
        "INSERT INTO takes_text SELECT id, title, prompt, "
        "(SELECT group_concat(tag, ' ') FROM tags WHERE take = takes.id), note FROM takes WHERE id = ?"
    )
    connection.execute(query, (take,))


def _unindex(connection: sqlite3.Connection, take: str) -> None:
    if has_text_search(connection):
        connection.execute("DELETE FROM takes_text WHERE take = ?", (take,))
