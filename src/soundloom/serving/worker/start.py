"""Start a worker where its settings say: as a process of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from soundloom.serving.worker.messages import Message
from soundloom.serving.worker.process import WorkerProcess
from soundloom.serving.worker.settings import WorkerSettings


class WorkerHandle(Protocol):
    """The server's side of a worker."""

    @property
    def pid(self) -> int: ...
    def send(self, message: Message) -> None: ...
    def kill(self) -> None: ...
    def join(self) -> None: ...


def start_worker(
    settings: WorkerSettings, on_message: Callable[[Message], Any], on_end: Callable[[str], Any]
) -> WorkerHandle:
    """Start a worker; its messages and its end are reported by callbacks, from another thread."""
    if settings.on_ray:
        from soundloom.serving.worker.ray import RayWorker

        return RayWorker(settings, on_message, on_end)
    return WorkerProcess(settings, on_message, on_end)
