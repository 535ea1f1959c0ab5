"""Facts about the server itself in the database, which outlive it: functions that take its connection."""

from __future__ import annotations

import sqlite3

PAUSED = "paused"


def is_paused(connection: sqlite3.Connection) -> bool:
    """Return whether the queue was held when the server ended."""
    return connection.execute("SELECT 1 FROM meta WHERE name = ?", (PAUSED,)).fetchone() is not None


def set_paused(connection: sqlite3.Connection, paused: bool) -> None:
    if paused:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '')", (PAUSED,))
    else:
        connection.execute("DELETE FROM meta WHERE name = ?", (PAUSED,))
