"""Settings of the queue, and the errors of what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from soundloom.errors import SoundloomError
from soundloom.pipeline.plan import MAX_BATCH
from soundloom.serving.worker.settings import WorkerSettings


class QueueFullError(SoundloomError):
    """Too many jobs wait."""


class TooLargeError(SoundloomError):
    """A request has more bytes than the server accepts."""


class JobStateError(SoundloomError):
    """A job is in a state in which this is not possible."""


class JobEndedError(JobStateError):
    """A job has ended already."""


class NotFoundError(SoundloomError, LookupError):
    """There is no job, take or file with this id."""


class NotAllowedError(SoundloomError):
    """A user asked for what only whoever runs the server may do."""


@dataclass(frozen=True)
class DispatchSettings:
    """How jobs run."""

    devices: Mapping[str, WorkerSettings]
    keep_alive: float | None = 900.0  # seconds until an idle model is freed; None keeps it
    max_jobs: int = 200
    max_items: int = 1000
    max_batch: int = MAX_BATCH
    disk_limit: int | None = None  # bytes that the library may take
    stall_limit: float | None = 1800.0  # seconds without progress until a worker is ended
    sources: Mapping[str, str] = field(default_factory=dict)  # models outside the catalogue, by name
    allowed: tuple[str, ...] = ()  # models that may be used; none: all

    def require_place(self, jobs: int, items: int, more: int) -> None:
        """Raise QueueFullError if a job of `more` clips is too much beside those that wait."""
        if jobs >= self.max_jobs or items + more > self.max_items:
            raise QueueFullError(f"{jobs} jobs with {items} clips wait already", "try again later")
