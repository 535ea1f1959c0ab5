"""The server's side of a worker: start it, talk to it, and notice when it is gone."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from soundloom.serving.worker.main import run_worker
from soundloom.serving.worker.messages import Message, receive, send
from soundloom.serving.worker.settings import WorkerSettings

END_SECONDS = 5.0  # to end after `Bye`, before the process is killed


class WorkerProcess:
    """A running worker. Messages and its end are reported by callbacks, from a thread of its own."""

    def __init__(
        self, settings: WorkerSettings, on_message: Callable[[Message], Any], on_end: Callable[[str], Any]
    ) -> None:
        """`on_end` gets the reason as a sentence."""
        context = multiprocessing.get_context("spawn")  # a fork would share locks and device contexts
        self._connection, other = context.Pipe()
        self._on_message, self._on_end = on_message, on_end
        self._process = context.Process(target=run_worker, args=(other, settings), name="soundloom-worker", daemon=True)
        self._process.start()
        other.close()
        self._reader = threading.Thread(target=self._read, args=(self._connection,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def send(self, message: Message) -> None:
        """Send a message; one to a worker that is gone is dropped, since its end is reported."""
        try:
            send(self._connection, message)
        except OSError:
            return

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def join(self, seconds: float = END_SECONDS) -> None:
        """Wait for the process to end, and kill it if it does not."""
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._reader.join()

    def _read(self, connection: Connection) -> None:
        try:
            while True:
                self._on_message(receive(connection))
        except (EOFError, OSError):
            pass
        self._process.join()
        connection.close()
        self._on_end(exit_reason(self._process.exitcode))


def exit_reason(code: int | None) -> str:
    """Describe how a process ended, from its exit code; negative codes are signals."""
    if code == 0:
        return "the worker ended"
    if code is None or code > 0:
        return f"the worker ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "the worker was killed by the system, probably because memory ran out"
    return f"the worker crashed ({name})"
