"""Jobs and their items in the database: functions that take its connection."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from soundloom.serving.storage.rows import ENDED, Item, Job, JobClass, State, dump_json, load_json, new_id


def add_job(
    connection: sqlite3.Connection,
    client: str,
    kind: str,
    model: str,
    body: dict[str, Any],
    requests: Sequence[dict[str, Any]],
    job_class: JobClass = "interactive",
) -> Job:
    """Store a new job with one item for each request, at the end of the queue."""
    last = connection.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0]
    job = Job(new_id(), client, kind, model, body, job_class, "queued", last + 1, time.time())
    connection.execute(
        "INSERT INTO jobs (id, client, kind, model, body, class, state, position, created) VALUES (?,?,?,?,?,?,?,?,?)",
        (job.id, client, kind, model, dump_json(body), job_class, job.state, job.position, job.created),
    )
    items = tuple(Item(job.id, number, request) for number, request in enumerate(requests))
    connection.executemany(
        "INSERT INTO items (job, number, request, state) VALUES (?, ?, ?, ?)",
        [(item.job, item.number, dump_json(item.request), item.state) for item in items],
    )
    return replace(job, items=items)


def get_job(connection: sqlite3.Connection, job: str) -> Job | None:
    """Return a job with its items."""
    row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
    return None if row is None else _with_items(connection, [row])[0]


def list_jobs(
    connection: sqlite3.Connection, states: Sequence[State] = (), client: str | None = None, limit: int = 200
) -> list[Job]:
    """Return jobs: those that wait in queue order, before them those that ended, the newest `limit` of all."""
    conditions, values = ["1"], list[Any]()
    if states:
        conditions.append(f"state IN ({','.join('?' * len(states))})")
        values += states
    if client is not None:
        conditions.append("client = ?")
        values.append(client)
    query = f"SELECT * FROM jobs WHERE {' AND '.join(conditions)} ORDER BY position DESC LIMIT ?"
    return _with_items(connection, connection.execute(query, (*values, limit)).fetchall()[::-1])


def waiting(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the number of jobs, and of items of jobs, that have not ended."""
    marks = ",".join("?" * len(ENDED))
    jobs = connection.execute(f"SELECT count(*) FROM jobs WHERE state NOT IN ({marks})", ENDED).fetchone()[0]
    query = f"SELECT count(*) FROM items WHERE state NOT IN ({marks})"
    return jobs, connection.execute(query, ENDED).fetchone()[0]


def set_state(connection: sqlite3.Connection, job: str, state: State, reason: str | None = None) -> None:
    """Change the state of a job; the times of its start and end follow."""
    now = time.time()
    connection.execute("UPDATE jobs SET state = ?, reason = ? WHERE id = ?", (state, reason, job))
    if state == "running":
        connection.execute("UPDATE jobs SET started = coalesce(started, ?) WHERE id = ?", (now, job))
    connection.execute("UPDATE jobs SET ended = ? WHERE id = ?", (now if state in ENDED else None, job))


def set_item(
    connection: sqlite3.Connection,
    job: str,
    number: int,
    state: State,
    take: str | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """Change the state of an item."""
    connection.execute(
        "UPDATE items SET state = ?, take = ?, error = ? WHERE job = ? AND number = ?",
        (state, take, None if error is None else dump_json(error), job, number),
    )


def put_back(connection: sqlite3.Connection, job: str, reason: str | None = None, *, is_crash: bool = True) -> None:
    """Return a job to the queue, at its place, after a crash with one more attempt; items that ended stay so."""
    connection.execute("UPDATE jobs SET attempt = attempt + ? WHERE id = ?", (is_crash, job))
    connection.execute("UPDATE items SET state = 'queued' WHERE job = ? AND state IN ('running', 'canceling')", (job,))
    set_state(connection, job, "queued", reason)


def retry(connection: sqlite3.Connection, job: str) -> None:
    """Queue what is missing of a job that ended, with all its attempts."""
    connection.execute(
        "UPDATE items SET state = 'queued', error = NULL WHERE job = ? AND state IN ('failed', 'canceled')", (job,)
    )
    connection.execute("UPDATE jobs SET attempt = 0 WHERE id = ?", (job,))
    set_state(connection, job, "queued")


def move(connection: sqlite3.Connection, job: str, before: str | None) -> None:
    """Place a waiting job before another one, or at the end."""
    rows = connection.execute(
        "SELECT id, position FROM jobs WHERE state = 'queued' AND id != ? ORDER BY position", (job,)
    ).fetchall()
    places = {row["id"]: index for index, row in enumerate(rows)}
    index = places.get(before, len(rows)) if before is not None else len(rows)
    low = rows[index - 1]["position"] if index > 0 else (rows[0]["position"] - 2 if rows else 0)
    high = rows[index]["position"] if index < len(rows) else low + 2
    connection.execute("UPDATE jobs SET position = ? WHERE id = ?", ((low + high) / 2, job))


def requeue_interrupted(connection: sqlite3.Connection, *, is_crash: bool = True) -> list[str]:
    """Put back the jobs that ran when the server stopped; return their ids. Only a crash counts as an attempt."""
    rows = connection.execute(
        "SELECT id, state FROM jobs WHERE state IN ('running', 'canceling') ORDER BY position"
    ).fetchall()
    for row in rows:
        if row["state"] == "canceling":
            connection.execute(
                "UPDATE items SET state = 'canceled' WHERE job = ? AND state NOT IN ('succeeded', 'failed')",
                (row["id"],),
            )
            set_state(connection, row["id"], "canceled")
        else:
            put_back(connection, row["id"], "the server was stopped", is_crash=is_crash)
    return [row["id"] for row in rows]


def _with_items(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[Job]:
    marks = ",".join("?" * len(rows))
    query = f"SELECT * FROM items WHERE job IN ({marks}) ORDER BY job, number"
    found: dict[str, list[Item]] = {row["id"]: [] for row in rows}
    for item in connection.execute(query, [row["id"] for row in rows]):
        error, request = load_json(item["error"]), load_json(item["request"])
        found[item["job"]].append(Item(item["job"], item["number"], request, item["state"], item["take"], error))
    same = ("id", "client", "kind", "model", "state", "position", "created", "reason", "attempt", "started", "ended")
    return [
        Job(
            **{name: row[name] for name in same},
            body=load_json(row["body"]),
            job_class=row["class"],
            items=tuple(found[row["id"]]),
        )
        for row in rows
    ]
