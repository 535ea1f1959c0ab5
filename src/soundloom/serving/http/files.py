"""Answers with the bytes of a file, or parts of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import UploadFile
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from soundloom.serving.http.contract import Answers, content, problems
from soundloom.serving.http.problems import problem
from soundloom.serving.jobs.settings import TooLargeError
from soundloom.serving.uploads import MAX_FILE_BYTES

BLOCK = 1 << 20
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
AUDIO: Answers = {
    **content(*MEDIA_TYPES.values()),
    **content(*MEDIA_TYPES.values(), "multipart/byteranges", text="The ranges", status=206),
    304: {"description": "The client has this file"},
    **problems(400, 416, 507),
}


async def receive(file: UploadFile, path: Path) -> int:
    """Write a file that a client sends, and return its bytes. Raises TooLargeError."""
    size = 0
    with path.open("wb") as out:
        while block := await file.read(BLOCK):
            size += len(block)
            if size > MAX_FILE_BYTES:
                raise TooLargeError(f"the file has more than {MAX_FILE_BYTES >> 20} MiB", "send a smaller one")
            out.write(block)
    return size


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
