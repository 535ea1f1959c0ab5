"""Answers with the bytes of a file, or parts of it."""

from __future__ import annotations

from typing import Any

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from soundloom.serving.http.contract import Answers, content, problems
from soundloom.serving.http.problems import problem

MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
AUDIO: Answers = {
    **content(*MEDIA_TYPES.values()),
    **content(*MEDIA_TYPES.values(), "multipart/byteranges", text="The ranges", status=206),
    304: {"description": "The client has this file"},
    **problems(400, 416, 507),
}


class AudioFile(FileResponse):
    """An audio file. Requests of more than eight ranges get all of it; faulty ranges are problem details."""

    max_ranges = 8

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: dict[str, Any] = {}

        async def send_unless_refused(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused.update(message)
            if not refused:
                await send(message)

        await super().__call__(scope, receive, send_unless_refused)
        if refused:
            kept = {name.decode(): value.decode() for name, value in refused["headers"] if name == b"content-range"}
            detail = "the header Range is no range of this file"
            answer = problem(refused["status"], "request-error", detail, "use bytes=FIRST-LAST", kept)
            await answer(scope, receive, send)
