"""What to look for among the takes, as conditions of SQL."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Literal

from soundloom.serving.storage.migrations import has_text_search

Order = Literal["newest", "oldest", "title", "longest", "shortest"]
JOINED = "JOIN artifacts ON artifacts.hash = takes.artifact"
_SECONDS = "(1.0 * artifacts.samples / artifacts.rate)"
_NAME = "lower(coalesce(nullif(takes.title, ''), nullif(takes.prompt, ''), artifacts.name))"
ORDERS: dict[Order, str] = {
    "newest": "takes.made DESC",
    "oldest": "takes.made",
    "title": f"{_NAME}, takes.made",
    "longest": f"{_SECONDS} DESC, takes.made DESC",
    "shortest": f"{_SECONDS}, takes.made DESC",
}


@dataclass(frozen=True)
class Search:
    """Which takes to list. `text` finds words of title, prompt, tags and note, the last one also by its beginning.

    Seconds are those of the clip; `bpm` is a tempo that was asked for.
    """

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
    model: str | None = None
    seed: int | None = None
    bpm: float | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None


def where_of(connection: sqlite3.Connection, search: Search) -> tuple[str, list[Any]]:
    """Return the condition and its values; the takes are joined with their files as `JOINED` says."""
    conditions, values = [f"takes.deleted IS {'NOT ' if search.deleted else ''}NULL"], list[Any]()

    def add(condition: str, *given: Any) -> None:
        conditions.append(condition)
        values.extend(given)

    for column in ("favorite", "parent", "client"):
        if (value := getattr(search, column)) is not None:
            add(f"takes.{column} = ?", value)
    if search.kinds:
        add(f"takes.kind IN ({','.join('?' * len(search.kinds))})", *search.kinds)
    for tag in search.tags:
        add("takes.id IN (SELECT take FROM tags WHERE lower(tag) = lower(?))", tag)
    for name in ("model", "seed"):
        if (value := getattr(search, name)) is not None:
            add(f"json_extract(takes.record, '$.{name}') = ?", value)
    if search.min_seconds is not None:
        add(f"{_SECONDS} >= ?", search.min_seconds)
    if search.max_seconds is not None:
        add(f"{_SECONDS} <= ?", search.max_seconds)
    if search.bpm is not None:
        asked = f"% {search.bpm:g} bpm%"
        add("(json_extract(takes.record, '$.request.bpm') = ? OR ' ' || lower(takes.prompt) LIKE ?)", search.bpm, asked)
    for word in search.text.replace("\0", " ").split():  # FTS5 reads only up to a NUL
        add(*_word(connection, word))
    return f"WHERE {' AND '.join(conditions)}", values


def _word(connection: sqlite3.Connection, word: str) -> tuple[str, str]:
    if has_text_search(connection):
        match = '"' + word.replace('"', '""') + '"*'
        return "takes.id IN (SELECT take FROM takes_text WHERE takes_text MATCH ?)", match
    pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return "takes.title || ' ' || takes.prompt || ' ' || takes.note LIKE ? ESCAPE '\\'", pattern
