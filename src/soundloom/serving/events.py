"""Tell listeners what happens: durable events with ascending numbers, and progress, which is not stored."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from soundloom.serving.storage.rows import Event

MAX_WAITING = 256  # events that a slow listener may leave unread
PROGRESS_SECONDS = 0.1  # between two reports about the same job


@dataclass(frozen=True)
class Notice:
    """An event for a listener. Progress has no number."""

    kind: str
    data: dict[str, Any]
    id: int | None = None
    owner: str | None = None  # the client whose job or take it is about; None for all


@dataclass(eq=False)
class Listener:
    """The events that one stream has not read yet; those of a user get no events of others."""

    user: str | None = None
    waiting: deque[Notice] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    def put(self, notice: Notice) -> None:
        """Add an event; a listener that does not read loses progress first, then its stream."""
        if not self.may_have(notice.owner):
            return
        if len(self.waiting) >= MAX_WAITING:
            self.waiting = deque(one for one in self.waiting if one.id is not None)
            if len(self.waiting) >= MAX_WAITING:
                self.closed = True
        if not self.closed:
            self.waiting.append(notice)
        self.arrived.set()

    def may_have(self, owner: str | None) -> bool:
        """Whether an event about something of `owner` is for this listener."""
        return self.user is None or owner in (None, self.user)

    async def next(self, seconds: float) -> Notice | None:
        """Wait for an event; None after this time without one. Raises EOFError at the end of the stream."""
        if not self.waiting and not self.closed:
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), seconds)
            except TimeoutError:
                return None
        if self.waiting:
            return self.waiting.popleft()
        if self.closed:
            raise EOFError
        return None


class EventHub:
    """Passes events on to listeners; used in the thread of the event loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._reported: dict[str, float] = {}  # when progress of a job was last passed on
        self.observers: list[Callable[[Event], None]] = []
        self.closed = False

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def publish(self, event: Event) -> None:
        """Pass on an event that is stored."""
        for observe in self.observers:
            observe(event)
        self._send(Notice(event.kind, event.data, event.id, event.owner))

    def progress(self, job: str, data: dict[str, Any], owner: str | None = None, *, always: bool = False) -> None:
        """Pass on progress, at most ten times a second for each job."""
        now = time.monotonic()
        if always or now - self._reported.get(job, 0.0) >= PROGRESS_SECONDS:
            self._reported[job] = now
            self._send(Notice("progress", data, owner=owner))

    def ended(self, job: str) -> None:
        """Forget a job."""
        self._reported.pop(job, None)

    def close(self) -> None:
        """End all streams, after a farewell."""
        if self.closed:
            return
        self._send(Notice("bye", {}))
        self.closed = True
        for listener in self._listeners:
            listener.closed = True
            listener.arrived.set()

    @asynccontextmanager
    async def listen(self, user: str | None = None) -> AsyncIterator[Listener]:
        """Yield a listener that gets everything from now on, or what concerns a user."""
        listener = Listener(user, closed=self.closed)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def _send(self, notice: Notice) -> None:
        for listener in self._listeners:
            listener.put(notice)
