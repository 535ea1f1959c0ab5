"""Workers on a Ray cluster: the same class as on this machine, as deployments of Ray Serve with one replica each.

Messages to a worker are calls of its replica. What it reports, such as progress, comes back over one streaming call
that lasts as long as the worker. Audio travels as files, so all machines of the cluster need the data folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import queue
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from soundloom.errors import RequestError
from soundloom.serving.worker.main import Worker
from soundloom.serving.worker.messages import Message, decode, encode
from soundloom.serving.worker.settings import WorkerSettings

log = logging.getLogger(__name__)
END_SECONDS = 5.0  # to end after `Bye`, before the process is ended
CONNECT_SECONDS = 10.0
MAX_CALLS = 100  # of a replica at the same time


def connect(objects: str) -> None:
    """Connect to the cluster in RAY_ADDRESS, or on this machine; remove workers that the data folder has left there.

    `objects` is its folder of objects. Raises RequestError.
    """
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise RequestError(
            "--ray needs a package that is not installed: ray", "pip install 'soundloom[ray]'"
        ) from error
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        if not ray.is_initialized():
            _require_reachable(address)
            ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
        serve.start(proxy_location="Disabled")  # the server is the front
        logging.getLogger("ray.serve").setLevel(logging.ERROR)  # the server reports what happens to workers
        for name in serve.status().applications:
            if name.startswith(_prefix(objects)):
                serve.delete(name)
    except (OSError, RuntimeError, ValueError) as error:
        raise RequestError(
            f"there is no Ray cluster: {str(error).splitlines()[0]}",
            "start one with the command of Ray, or set RAY_ADDRESS",
        ) from error


def _require_reachable(address: str) -> None:
    """Raise OSError where nothing answers, for which Ray would wait over a minute."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _prefix(objects: str) -> str:
    return f"soundloom-{hashlib.sha256(objects.encode()).hexdigest()[:8]}-"


class Inbox:
    """The worker's end of its connection, in the process of its replica."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send_bytes = send
        self.received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def recv_bytes(self) -> bytes:
        return self.received.get()


class Replica:
    """A worker in a process of the cluster."""

    def __init__(self, settings: WorkerSettings) -> None:
        loop, self._reports = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()
        self._early: dict[int, bytes] = {}
        self._next = 0

        def report(data: bytes | None) -> None:
            loop.call_soon_threadsafe(self._reports.put_nowait, data)

        self._inbox = Inbox(report)

        def work() -> None:
            try:
                Worker(self._inbox, settings).serve()
            finally:
                report(None)

        threading.Thread(target=work, name="soundloom-worker", daemon=True).start()

    async def receive(self, number: int, data: bytes) -> None:
        """Pass a message to the worker, in the order of the numbers: calls may overtake each other."""
        self._early[number] = data
        while (following := self._early.pop(self._next, None)) is not None:
            self._inbox.received.put(following)
            self._next += 1

    async def reports(self) -> AsyncIterator[bytes]:
        """Yield what the worker says, until it ends."""
        while (data := await self._reports.get()) is not None:
            yield data

    async def end(self) -> None:
        """End the process at once."""
        os._exit(1)


class RayWorker:
    """The server's side of a worker on the cluster, with the interface of `WorkerProcess`."""

    def __init__(
        self, settings: WorkerSettings, on_message: Callable[[Message], Any], on_end: Callable[[str], Any]
    ) -> None:
        """Start a worker as soon as the cluster has room. `on_end` gets the reason as a sentence."""
        self._on_message, self._on_end = on_message, on_end
        self._settings, self._name = settings, _prefix(settings.objects) + secrets.token_hex(4)
        self._handle = self._deploy()
        self._sent = 0
        self._reader = threading.Thread(target=self._read, name="soundloom-ray", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """0: the process may be on another machine."""
        return 0

    def send(self, message: Message) -> None:
        """Send a message; one to a worker that is gone is dropped, since its end is reported."""
        with suppress(Exception):
            self._handle.receive.remote(self._sent, encode(message))
            self._sent += 1

    def kill(self) -> None:
        """End the process at once."""
        with suppress(Exception):
            self._handle.end.remote()

    def join(self, seconds: float = END_SECONDS) -> None:
        """Wait for the worker to end, and remove it from the cluster."""
        self._reader.join(seconds)
        self._remove()

    def _deploy(self) -> Any:
        from ray import serve

        settings = self._settings
        is_gpu = (settings.device or "").startswith("cuda")
        deployment = serve.deployment(
            name="worker",
            num_replicas=1,
            max_ongoing_requests=MAX_CALLS,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=0.1,
            ray_actor_options={"num_cpus": settings.threads or 1, "num_gpus": int(is_gpu)},
        )(Replica)
        target = serve.RunTarget(deployment.bind(settings), self._name, route_prefix=None)
        return serve.run_many([target], wait_for_applications_running=False)[0]

    def _read(self) -> None:
        reason = "the worker ended"
        try:
            for data in self._handle.options(stream=True).reports.remote():
                self._on_message(decode(data))
        except Exception as error:
            log.info("the reports of %s ended", self._name, exc_info=error)
            reason = f"the worker on the Ray cluster is gone ({type(error).__name__})"
        self._remove()
        self._on_end(reason)

    def _remove(self) -> None:
        from ray import serve

        with suppress(Exception):
            serve.delete(self._name, _blocking=False)
