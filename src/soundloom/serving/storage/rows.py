"""The rows of the database as dataclasses."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["queued", "running", "canceling", "succeeded", "failed", "canceled"]
JobClass = Literal["interactive", "batch"]
ENDED: tuple[State, ...] = ("succeeded", "failed", "canceled")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # without letters that look alike


def new_id() -> str:
    """Return a random identifier of 16 characters, 80 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


@dataclass(frozen=True)
class Artifact:
    """An audio file of the object store."""

    hash: str
    bytes: int
    rate: int
    channels: int
    samples: int
    subtype: str
    name: str = ""
    made: float = 0.0
    missing: bool = False

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


@dataclass(frozen=True)
class Item:
    """A clip of a job."""

    job: str
    number: int
    request: dict[str, Any]
    state: State = "queued"
    take: str | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Job:
    """What a client asked for: one or several clips of one kind from one model."""

    id: str
    client: str
    kind: str
    model: str
    body: dict[str, Any]
    job_class: JobClass
    state: State
    position: float
    created: float
    reason: str | None = None
    attempt: int = 0
    started: float | None = None
    ended: float | None = None
    items: tuple[Item, ...] = field(default=())


@dataclass(frozen=True)
class Take:
    """An entry of the library: a clip, and what users say about it."""

    id: str
    artifact: Artifact
    record: dict[str, Any]
    prompt: str
    kind: str
    client: str
    made: float
    parent: str | None = None
    title: str = ""
    favorite: bool = False
    note: str = ""
    deleted: float | None = None
    file: str | None = None  # name in the output folder
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """Something that happened; `id` ascends over restarts."""

    id: int
    kind: str
    data: dict[str, Any]
    made: float
    owner: str | None = None  # the client whose job or take it is about


def load_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def artifact_of(row: sqlite3.Row) -> Artifact:
    fields = ("hash", "bytes", "rate", "channels", "samples", "subtype", "name")
    return Artifact(**{name: row[name] for name in fields}, made=row["artifact_made"], missing=bool(row["missing"]))
