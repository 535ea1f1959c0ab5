"""What a server tells about its library, its queue and itself. Servers may add fields."""

from __future__ import annotations

from typing import Any, TypedDict


class Artifact(TypedDict):
    """An audio file."""

    id: str
    bytes: int
    rate: int
    channels: int
    samples: int
    seconds: float
    subtype: str
    name: str
    missing: bool


class Take(TypedDict):
    """An entry of the library."""

    id: str
    title: str
    prompt: str
    kind: str
    parent: str | None
    favorite: bool
    note: str
    tags: list[str]
    made: float
    deleted: float | None
    file: str | None
    audio: Artifact
    record: dict[str, Any]


class JobItem(TypedDict):
    """A clip of a job; `take` is its id in the library when it is finished."""

    number: int
    state: str
    seed: int | None
    take: str | None
    error: dict[str, Any] | None


class Job(TypedDict):
    """A job: queued, running, succeeded, failed or canceled."""

    id: str
    kind: str
    model: str
    state: str
    reason: str | None
    attempt: int
    client: str
    created: float
    started: float | None
    ended: float | None
    request: dict[str, Any]
    source: str | None
    items: list[JobItem]
    progress: dict[str, Any] | None


class ServedModel(TypedDict):
    """A model of the server, under its name `id`."""

    id: str
    license: str
    loaded: bool


class System(TypedDict):
    """A server: devices, models in memory, and the length of the queue. `model` is the one of calls without a name."""

    version: str
    model: str
    uptime: float
    paused: bool
    waiting: dict[str, int]
    devices: list[dict[str, Any]]
    disk: dict[str, int]
