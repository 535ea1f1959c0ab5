"""The stream of events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from soundloom.serving.events import Listener, Notice
from soundloom.serving.http.contract import content
from soundloom.serving.http.owners import owner_of, server_of
from soundloom.serving.http.problems import problem
from soundloom.serving.server import Server
from soundloom.serving.storage.events import events_after, last_event

router = APIRouter(prefix="/v1", tags=["events"])
COMMENT_SECONDS = 15.0  # between comments that keep a silent connection open
MAX_STREAMS = 64
MISSED_AT_ONCE = 64  # events
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/events", response_class=StreamingResponse, responses=content("text/event-stream", text="Events", kind=""))
async def events(
    request: Request,
    last_event_id: Annotated[int | None, Header()] = None,
    after: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Stream what happens as Server-Sent Events, from now on or after an event that was seen."""
    server = server_of(request)
    if server.hub.listeners >= MAX_STREAMS:
        return problem(429, "too-many-streams", f"{MAX_STREAMS} streams are open", "close one", {"Retry-After": "5"})
    seen = last_event_id if last_event_id is not None else after
    return StreamingResponse(_stream(server, seen, owner_of(request)), media_type="text/event-stream", headers=HEADERS)


async def _stream(server: Server, seen: int | None, user: str | None) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    async with server.hub.listen(user) as listener:
        last = -1  # the newest event that the database had; the listener may have it too
        async for number, text in _missed(server, listener, seen):
            last = number
            yield text
        while True:
            try:
                notice = await listener.next(COMMENT_SECONDS)
            except EOFError:
                return
            if notice is None:
                yield ": \n\n"
            elif notice.id is None or notice.id > last:
                yield message(notice)


async def _missed(server: Server, listener: Listener, seen: int | None) -> AsyncIterator[tuple[int, str]]:
    """Yield what happened since `seen`: the number of the last event, and the text of several."""
    if seen is None:
        number = await server.dispatcher.call(last_event)
        yield number, f"id: {number}\nevent: hello\ndata: {json.dumps({'time': time.time()})}\n\n"
        return
    missed = await server.dispatcher.call(lambda connection: events_after(connection, seen))
    if missed is None:
        number = await server.dispatcher.call(last_event)
        yield number, f"id: {number}\nevent: reset\ndata: {{}}\n\n"
        return
    for start in range(0, len(missed), MISSED_AT_ONCE):
        part = missed[start : start + MISSED_AT_ONCE]
        own = (Notice(event.kind, event.data, event.id) for event in part if listener.may_have(event.owner))
        yield part[-1].id, "".join(map(message, own))
        await asyncio.sleep(0)  # so that a client that is gone is noticed


def message(notice: Notice) -> str:
    """Return the text of an event."""
    number = "" if notice.id is None else f"id: {notice.id}\n"
    return f"{number}event: {notice.kind}\ndata: {json.dumps(notice.data, ensure_ascii=False)}\n\n"
