"""Events, answers to repeated requests, sessions and timings in the database: functions that take its connection."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from soundloom.serving.storage.rows import Event, dump_json, load_json

KEPT_EVENTS, KEPT_SECONDS = 10_000, 86_400.0


def add_event(connection: sqlite3.Connection, kind: str, data: dict[str, Any], owner: str | None = None) -> Event:
    """Store an event, for all or about a job or take of a client; old ones are removed from time to time."""
    made = time.time()
    number = connection.execute(
        "INSERT INTO events (kind, data, made, owner) VALUES (?, ?, ?, ?)", (kind, dump_json(data), made, owner)
    ).lastrowid
    if number is None:
        raise RuntimeError("the database returned no row number")
    if number % 100 == 0:
        connection.execute("DELETE FROM events WHERE id <= ? OR made < ?", (number - KEPT_EVENTS, made - KEPT_SECONDS))
    return Event(number, kind, data, made, owner)


def events_after(connection: sqlite3.Connection, number: int) -> list[Event] | None:
    """Return the events after a number; None if some of them are gone, or if the number never existed."""
    first, last = connection.execute("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM events").fetchone()
    if number > last or (number < first - 1):
        return None
    rows = connection.execute("SELECT * FROM events WHERE id > ? ORDER BY id", (number,))
    return [Event(row["id"], row["kind"], load_json(row["data"]), row["made"], row["owner"]) for row in rows]


def last_event(connection: sqlite3.Connection) -> int:
    """Return the number of the newest event, 0 without any."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])


# Repeated requests


def claim_key(connection: sqlite3.Connection, client: str, key: str, body: str) -> tuple[str, Any]:
    """Claim an idempotency key; `body` is a hash.

    Returns ("new", None), ("answered", the first answer), ("pending", None), or ("other", None) for another body.
    """
    connection.execute("DELETE FROM idempotency WHERE made < ?", (time.time() - KEPT_SECONDS,))
    row = connection.execute(
        "SELECT body, answer FROM idempotency WHERE client = ? AND key = ?", (client, key)
    ).fetchone()
    if row is None:
        values = (client, key, body, None, time.time())
        connection.execute("INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)", values)
        return "new", None
    if row["body"] != body:
        return "other", None
    return ("pending", None) if row["answer"] is None else ("answered", load_json(row["answer"]))


def answer_key(connection: sqlite3.Connection, client: str, key: str, answer: Any) -> None:
    """Store the answer of a claimed key; None frees the key again."""
    if answer is None:
        connection.execute("DELETE FROM idempotency WHERE client = ? AND key = ?", (client, key))
        return
    connection.execute(
        "UPDATE idempotency SET answer = ? WHERE client = ? AND key = ?", (dump_json(answer), client, key)
    )


# Sessions


def add_session(connection: sqlite3.Connection, hash: str, kind: str, seconds: float, user: str | None = None) -> None:
    """Store the hash of a secret: a cookie, or a link that works once. None is whoever runs the server."""
    connection.execute("DELETE FROM sessions WHERE expires < ?", (time.time(),))
    connection.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", (hash, kind, time.time() + seconds, user))


def find_session(connection: sqlite3.Connection, hash: str, kind: str) -> tuple[str | None] | None:
    """Return the user of a secret, or None for one that is unknown or too old."""
    query = "SELECT user FROM sessions WHERE hash = ? AND kind = ? AND expires > ?"
    row = connection.execute(query, (hash, kind, time.time())).fetchone()
    return None if row is None else (row["user"],)


def end_session(connection: sqlite3.Connection, hash: str) -> None:
    connection.execute("DELETE FROM sessions WHERE hash = ?", (hash,))


# Timings


def add_timings(
    connection: sqlite3.Connection, where: tuple[str, str, str, int, int], stages: Mapping[str, float]
) -> None:
    """Count a run of (model, device, precision, frames, clips): the seconds of its stages; recent runs weigh more."""
    connection.executemany(
        "INSERT INTO timings VALUES (?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET "
        "seconds = seconds + (excluded.seconds - seconds) / (min(runs, 9) + 1), runs = runs + 1",
        [(*where, stage, seconds) for stage, seconds in stages.items()],
    )


def timings(connection: sqlite3.Connection, model: str, device: str, precision: str) -> list[sqlite3.Row]:
    """Return the known (frames, clips, stage, seconds, runs) of a model."""
    query = "SELECT frames, clips, stage, seconds, runs FROM timings WHERE model = ? AND device = ? AND precision = ?"
    return connection.execute(query, (model, device, precision)).fetchall()
