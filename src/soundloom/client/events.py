"""The events of a server: their format, and readers that reconnect where they were interrupted."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

PATH = "/v1/events"
SILENT_SECONDS = 40.0  # without even a comment, until a stream counts as lost; the server sends one every 15 s
RETRY_SECONDS = 1.0
REFUSED = (429, 503)  # statuses that may change
LOST = "lost"


@dataclass(frozen=True)
class ServerEvent:
    """What happened on the server; `lost` says that the stream was interrupted."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)


class EventParser:
    """Parses a stream of Server-Sent Events; `last` is the number of the last one that has one."""

    def __init__(self) -> None:
        self.last = ""
        self._rest = b""

    def start(self) -> dict[str, str]:
        """Forget a half-read event, and return the headers of a request that goes on after the last one."""
        self._rest = b""
        return {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last} if self.last else {})

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events that are complete."""
        *texts, self._rest = (self._rest + data).split(b"\n\n")
        return [event for text in texts if (event := self._parse(text.decode("utf-8", "replace"))) is not None]

    def _parse(self, text: str) -> ServerEvent | None:
        # Not splitlines(): JSON may contain other line separators.
        fields = dict(line.split(": ", 1) for line in text.split("\n") if ": " in line and line[0] != ":")
        self.last = fields.get("id", self.last)
        if "event" not in fields:
            return None
        with suppress(ValueError):
            data = json.loads(fields.get("data", "{}"))
            return ServerEvent(fields["event"], data if isinstance(data, dict) else {})
        return ServerEvent(fields["event"])


class EventReader:
    """Reads events in a thread."""

    def __init__(self, http: httpx.Client) -> None:
        self._http, self._parser = http, EventParser()
        self._events: queue.SimpleQueue[ServerEvent] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._response: httpx.Response | None = None
        threading.Thread(target=self._read, name="soundloom-events", daemon=True).start()

    def next(self, seconds: float) -> ServerEvent | None:
        """Return the next event; None after this time without one."""
        try:
            return self._events.get(timeout=seconds) if seconds > 0 else self._events.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the thread, also while it waits for the server."""
        self._closed.set()
        response = self._response
        if response is not None:
            with suppress(Exception):  # it may be closed already
                stream = response.extensions["network_stream"]
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        while not self._closed.is_set():
            may_retry = True
            with suppress(Exception):  # whatever it is, the calls about the job will say it
                may_retry = self._read_stream()
            if self._closed.is_set() or not may_retry:
                return
            self._events.put(ServerEvent(LOST))
            self._closed.wait(RETRY_SECONDS)

    def _read_stream(self) -> bool:
        """Read until the stream ends; return False for a server that has none."""
        with self._http.stream("GET", PATH, headers=self._parser.start(), timeout=SILENT_SECONDS) as response:
            self._response = response
            if response.status_code != 200:
                return response.status_code in REFUSED
            for data in response.iter_bytes():
                if self._closed.is_set():
                    break
                for event in self._parser.feed(data):
                    self._events.put(event)
        return True


class AsyncEventReader:
    """Reads events in a task."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self._parser = http, EventParser()
        self._events: asyncio.Queue[ServerEvent] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def next(self, seconds: float) -> ServerEvent | None:
        """Return the next event; None after this time without one."""
        if seconds <= 0:
            return None if self._events.empty() else self._events.get_nowait()
        try:
            async with asyncio.timeout(seconds):
                return await self._events.get()
        except TimeoutError:
            return None

    async def close(self) -> None:
        """End the task."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            may_retry = True
            with suppress(Exception):  # whatever it is, the calls about the job will say it
                may_retry = await self._read_stream()
            if not may_retry:
                return
            self._events.put_nowait(ServerEvent(LOST))
            await asyncio.sleep(RETRY_SECONDS)

    async def _read_stream(self) -> bool:
        """Read until the stream ends; return False for a server that has none."""
        async with self._http.stream("GET", PATH, headers=self._parser.start(), timeout=SILENT_SECONDS) as response:
            if response.status_code != 200:
                return response.status_code in REFUSED
            async for data in response.aiter_bytes():
                for event in self._parser.feed(data):
                    self._events.put_nowait(event)
        return True
