"""The names of takes in the output folder: functions that take the database's connection."""

from __future__ import annotations

import sqlite3


def set_file_name(connection: sqlite3.Connection, take: str, name: str | None) -> None:
    """Store the name of a take's file in the output folder; None if it has none."""
    connection.execute("UPDATE takes SET file = ? WHERE id = ?", (name, take))


def is_name_taken(connection: sqlite3.Connection, name: str, other_than: str) -> bool:
    """Whether another take has this name, or one that differs in case only."""
    query = "SELECT 1 FROM takes WHERE file = ? COLLATE NOCASE AND id != ?"
    return connection.execute(query, (name, other_than)).fetchone() is not None


def takes_to_place(connection: sqlite3.Connection) -> list[str]:
    """Return the takes whose file is not yet in the output folder, oldest first, and the deleted ones that have one."""
    query = "SELECT id FROM takes WHERE (file IS NULL) = (deleted IS NULL) ORDER BY made"
    return [row[0] for row in connection.execute(query)]


def place_in_job(connection: sqlite3.Connection, take: str) -> tuple[int, int]:
    """Return the number of a take among the clips of its job, and how many these are."""
    query = "SELECT number, (SELECT count(*) FROM items AS all_items WHERE all_items.job = items.job) FROM items"
    row = connection.execute(f"{query} WHERE take = ?", (take,)).fetchone()
    return (row[0], row[1]) if row else (0, 1)
