"""Changes of many takes at once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from soundloom.serving.storage.migrations import has_text_search
from soundloom.serving.storage.takes import INDEX

_OWN = "(? IS NULL OR takes.client = ?)"


@dataclass(frozen=True)
class Change:
    """One thing that becomes so; `deleted` false restores takes."""

    favorite: bool | None = None
    deleted: bool | None = None
    add_tag: str | None = None
    remove_tag: str | None = None


def change_takes(connection: sqlite3.Connection, takes: Sequence[str], owner: str | None, change: Change) -> list[str]:
    """Change takes, those of an owner if one is given; return the ids of those that were not so before."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS selected (id TEXT PRIMARY KEY, place INTEGER)")
    connection.execute("DELETE FROM selected")
    connection.executemany("INSERT OR IGNORE INTO selected VALUES (?, ?)", [(id, n) for n, id in enumerate(takes)])
    differs, value = _difference(change)
    query = f"SELECT takes.id FROM takes JOIN selected USING (id) WHERE {_OWN} AND {differs} ORDER BY place"
    found = [row[0] for row in connection.execute(query, (owner, owner, *value))]
    connection.execute("DELETE FROM selected")
    connection.executemany("INSERT INTO selected VALUES (?, 0)", [(id,) for id in found])
    _apply(connection, change)
    return found


def list_tags(connection: sqlite3.Connection, owner: str | None) -> list[tuple[str, int]]:
    """Return the tags of takes that are not deleted, the most frequent first, and how many takes have them."""
    query = (
        f"SELECT tag, count(*) AS uses FROM tags JOIN takes ON takes.id = tags.take WHERE deleted IS NULL AND {_OWN}"
    )
    rows = connection.execute(f"{query} GROUP BY tag ORDER BY uses DESC, tag", (owner, owner))
    return [(row[0], row[1]) for row in rows]


def _difference(change: Change) -> tuple[str, tuple[str, ...]]:
    """Return the condition for takes that the change concerns."""
    if change.favorite is not None:
        return f"favorite = {int(not change.favorite)}", ()
    if change.deleted is not None:
        return f"deleted IS {'' if change.deleted else 'NOT '}NULL", ()
    has = "IN (SELECT take FROM tags WHERE tag = ?)"
    return (
        (f"takes.id NOT {has}", (change.add_tag,))
        if change.add_tag
        else (f"takes.id {has}", (change.remove_tag or "",))
    )


def _apply(connection: sqlite3.Connection, change: Change) -> None:
    these = "id IN (SELECT id FROM selected)"
    if change.favorite is not None:
        connection.execute(f"UPDATE takes SET favorite = ? WHERE {these}", (change.favorite,))
    elif change.deleted is not None:
        connection.execute(f"UPDATE takes SET deleted = ? WHERE {these}", (time.time() if change.deleted else None,))
    elif change.add_tag:
        connection.execute("INSERT INTO tags SELECT id, ? FROM selected", (change.add_tag,))
    else:
        connection.execute("DELETE FROM tags WHERE tag = ? AND take IN (SELECT id FROM selected)", (change.remove_tag,))
    if (change.add_tag or change.remove_tag) and has_text_search(connection):
        connection.execute("DELETE FROM takes_text WHERE take IN (SELECT id FROM selected)")
        connection.execute(f"{INDEX} WHERE {these}")
