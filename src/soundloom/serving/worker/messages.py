"""Messages between the server and a worker: JSON objects over one pipe. Audio travels as files, by their hashes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True)
class Message:
    """Base of all messages; `type` is the name in JSON."""

    type: ClassVar[str]


@dataclass(frozen=True)
class WorkItem:
    """A clip to generate. `source` is the file of an edit."""

    job: str
    number: int
    family: str  # stable-audio or musicgen
    request: dict[str, Any]
    source: str | None = None


# From the server


@dataclass(frozen=True)
class Load(Message):
    """Load a model, in place of the one that is loaded."""

    type: ClassVar[str] = "load"
    model: str


@dataclass(frozen=True)
class Run(Message):
    """Generate clips, all in one group, with the model that is loaded."""

    type: ClassVar[str] = "run"
    run: int
    items: tuple[WorkItem, ...]


@dataclass(frozen=True)
class Cancel(Message):
    """Stop items that wait or run; the pass ends when none of its items is left."""

    type: ClassVar[str] = "cancel"
    job: str


@dataclass(frozen=True)
class Unload(Message):
    """Free the model."""

    type: ClassVar[str] = "unload"


@dataclass(frozen=True)
class Bye(Message):
    """End."""

    type: ClassVar[str] = "bye"


# From the worker


@dataclass(frozen=True)
class Ready(Message):
    """The worker has started."""

    type: ClassVar[str] = "ready"
    pid: int


@dataclass(frozen=True)
class Loaded(Message):
    """A model is loaded; without a name, none is."""

    type: ClassVar[str] = "loaded"
    model: str | None = None
    seconds: float = 0.0
    engine: str = ""
    device: str = ""
    precision: str = ""
    memory: int | None = None  # bytes of the device, or of the machine if it has none of its own
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Working(Message):
    """A step of a run is done; `finished` ends a stage, whose seconds it states."""

    type: ClassVar[str] = "working"
    run: int
    stage: str
    step: int
    steps: int
    seconds: float = 0.0
    finished: bool = False


@dataclass(frozen=True)
class ItemDone(Message):
    """A clip is stored, or its generation failed or was canceled."""

    type: ClassVar[str] = "item"
    run: int
    job: str
    number: int
    state: str  # succeeded, failed or canceled
    artifact: dict[str, Any] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunDone(Message):
    """A run has ended; all its items have been reported."""

    type: ClassVar[str] = "done"
    run: int


_TYPES: dict[str, type[Message]] = {
    kind.type: kind for kind in (Load, Run, Cancel, Unload, Bye, Ready, Loaded, Working, ItemDone, RunDone)
}


class Channel(Protocol):
    """What messages need of a connection."""

    def send_bytes(self, data: bytes, /) -> None: ...
    def recv_bytes(self) -> bytes: ...


def send(channel: Channel, message: Message) -> None:
    """Send a message. Raises OSError if the other side is gone."""
    channel.send_bytes(encode(message))


def receive(channel: Channel) -> Message:
    """Wait for a message. Raises EOFError or OSError if the other side is gone."""
    return decode(channel.recv_bytes())


def encode(message: Message) -> bytes:
    """Return a message as JSON."""
    return json.dumps({"type": message.type, **asdict(message)}).encode()


def decode(data: bytes) -> Message:
    """Return the message of JSON."""
    values = json.loads(data)
    kind = _TYPES[values.pop("type")]
    if kind is Run:
        values["items"] = tuple(WorkItem(**item) for item in values["items"])
    return kind(**values)
