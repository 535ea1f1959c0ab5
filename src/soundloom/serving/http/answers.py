"""The shapes of answers about the server itself and its models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Exact(BaseModel):
    """An answer; a field that is missing in its description is a fault of the server."""

    model_config = ConfigDict(extra="forbid")


class HealthOut(Exact):
    """The server lives."""

    status: Literal["alive"] = "alive"
    version: str


class ReadyOut(Exact):
    """A worker can take a job."""

    status: Literal["ready"] = "ready"


class TaskOut(Exact):
    """A download or a check: how far it is in bytes, or how it ended."""

    model: str
    action: Literal["pull", "verify"]
    state: Literal["running", "succeeded", "failed"]
    done: int
    total: int
    result: dict[str, Any]


class ModelOut(Exact):
    """A model that can generate; `bytes` is the size of its download."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str
    license: str
    installed: bool
    loaded: bool
    bytes: int | None
    kind: str | None = None
    max_seconds: float | None
    default_seconds: float | None = None
    task: TaskOut | None


class ModelsOut(Exact):
    """All models, in the shape of OpenAI's list."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


class TermsOut(Exact):
    """What the license of a model says."""

    model: str
    terms: str


class MemoryOut(Exact):
    """What happens to the memory of a model."""

    model: str
    state: Literal["loading", "unloading"]


class WaitingOut(Exact):
    """The length of the queue."""

    jobs: int
    clips: int


class DeviceOut(Exact):
    """A worker; `held` says why it takes no jobs."""

    name: str
    device: str | None
    engine: str
    precision: str
    model: str | None
    busy: bool
    held: str
    restarts: int


class DiskOut(Exact):
    """Bytes: `used` by the library of `allowed`, `needed` by jobs that wait, and those of its disk; `limit` is set."""

    state: Literal["ok", "low", "full"]
    used: int
    needed: int
    allowed: int
    limit: int | None
    free: int
    total: int


class PurgedOut(Exact):
    """How many deleted takes were removed for good, and the bytes of their files."""

    takes: int
    bytes: int


class OutputOut(Exact):
    """The folder of finished clips, for clients on the same machine, and whether it can be written."""

    folder: str | None
    works: bool


class SystemOut(Exact):
    """The server: its devices, the user who asks, and the model of requests that name none."""

    version: str
    user: str | None
    model: str
    uptime: float
    paused: bool
    waiting: WaitingOut
    devices: list[DeviceOut]
    notice: str = Field(description="what users should know about the library, such as what was lost")
    disk: DiskOut
    output: OutputOut


class AdapterOut(Exact):
    """An adapter in the folder of adapters."""

    name: str


class AdaptersOut(Exact):
    """All adapters."""

    loras: list[AdapterOut]
