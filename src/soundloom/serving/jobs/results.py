"""Store what workers report."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from soundloom.serving.storage.events import add_event
from soundloom.serving.storage.jobs import set_item
from soundloom.serving.storage.rows import Artifact, Event, Job, State
from soundloom.serving.storage.takes import add_take, get_take
from soundloom.serving.worker.messages import ItemDone


def store_item(connection: sqlite3.Connection, job: Job, message: ItemDone) -> list[Event]:
    """Store the end of an item: its take, if there is one, its state, and the events about both."""
    facts: dict[str, Any] = {"job": job.id, "number": message.number, "state": message.state}
    facts |= {"error": message.error} if message.error else {}
    take = None
    if message.artifact is not None:
        source = job.body.get("parent") or job.body.get("source")
        parent = source if source and get_take(connection, source) else None
        artifact = Artifact(**message.artifact, made=time.time())
        take = add_take(connection, artifact, message.record, job.kind, job.client, parent)
        facts["take"] = take.id
    state: State = message.state  # type: ignore[assignment]
    set_item(connection, job.id, message.number, state, take.id if take else None, message.error)
    events = [add_event(connection, "take", {"id": take.id, "job": job.id}, job.client)] if take else []
    return [*events, add_event(connection, "item", facts, job.client)]
