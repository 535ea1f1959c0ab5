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
    state: Literal["running", "paused", "succeeded", "failed"]
    done: int
    total: int
    result: dict[str, Any]


class ModelOut(Exact):
    """A model, and what it can do: `modes` are kinds of jobs, `sounds` words for all sounds that it knows.

    `bytes` is the size of its download, `removable` what its removal would free, and `memory` about what it needs on
    the first device. `guidance`, `steps` and `sampler` are the defaults. `distilled` models follow
    no guidance or negative prompt. `pass_seconds` is the longest clip of one pass, `tokens` how much of a prompt is
    read, and `templates` and `instruments` what prompts and instructions it was trained on.
    """

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str
    license: str
    installed: bool
    loaded: bool
    bytes: int | None
    removable: int
    memory: int | None
    kind: str | None
    max_seconds: float | None
    default_seconds: float | None
    task: TaskOut | None
    modes: list[str]
    music: bool
    distilled: bool | None
    guidance: float
    steps: int | None
    sampler: str | None
    rate: int
    channels: int
    min_seconds: float
    pass_seconds: float
    tokens: int | None
    sounds: list[str]
    templates: list[str]
    instruments: list[str]


class ModelsOut(Exact):
    """All models, in the shape of OpenAI's list."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


class TermsOut(Exact):
    """What the license of a model says."""

    model: str
    terms: str


class FreedOut(Exact):
    """What was removed from the disk."""

    model: str
    bytes: int


class MemoryOut(Exact):
    """What happens to the memory of a model."""

    model: str
    state: Literal["loading", "unloading"]


class WaitingOut(Exact):
    """The length of the queue."""

    jobs: int
    clips: int


class DeviceOut(Exact):
    """A worker; `held` says why it takes no jobs, `memory` is what its device has in bytes, if that is known."""

    name: str
    device: str | None
    engine: str
    precision: str
    memory: int | None
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
    """The server: its devices, the user who asks, and the model of requests that name none.

    `lora_uploads` says whether adapters can be sent to it.
    """

    version: str
    user: str | None
    model: str
    uptime: float
    paused: bool
    lora_uploads: bool
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
