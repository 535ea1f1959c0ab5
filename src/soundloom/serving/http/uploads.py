"""The routes of uploads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, File, Request, UploadFile
from starlette.responses import Response

from soundloom.audio.clip import record_or_empty
from soundloom.audio.metadata import read_record
from soundloom.errors import RequestError, shown
from soundloom.serving.display_names import display_name
from soundloom.serving.http.contract import problems
from soundloom.serving.http.files import AUDIO, AudioFile, receive
from soundloom.serving.http.owners import own_take, server_of
from soundloom.serving.http.schemas import TakeOut, UploadOut
from soundloom.serving.http.takes import Format, Subtype, send_audio
from soundloom.serving.jobs.settings import NotFoundError
from soundloom.serving.storage.events import add_event
from soundloom.serving.storage.objects import file_hash
from soundloom.serving.storage.rows import Event
from soundloom.serving.storage.takes import add_artifact, get_artifact
from soundloom.serving.uploads import store_upload

router = APIRouter(prefix="/v1", tags=["uploads"])


@router.post("/uploads", status_code=201, responses=problems(415, 507))
async def upload(request: Request, file: Annotated[UploadFile, File()]) -> UploadOut:
    """Store an audio file; its id can be the source of jobs. Files without a take are removed after 30 days."""
    server = server_of(request)
    with server.store.temporary(".upload") as path:
        await receive(file, path)
        artifact = await store_upload(server, path, file.filename or "")
    stored = server.store.path(artifact.hash)
    return UploadOut.with_record(artifact, await asyncio.to_thread(record_or_empty, lambda: read_record(stored)))


@router.put("/takes/{take}/file", responses=problems(413, 507))
async def find(take: str, request: Request, file: Annotated[UploadFile, File()]) -> TakeOut:
    """Give a take its file back, if that is missing: only the same file is accepted, byte for byte."""
    server, found = server_of(request), await own_take(request, take)
    with server.store.temporary() as path:
        await server.dispatcher.disk.require(await receive(file, path))
        if await asyncio.to_thread(file_hash, path) != found.artifact.hash:
            name = shown(display_name(file.filename or ""))
            raise RequestError(f"{name} is not the file of this take", "choose a copy of it from a backup")
        await asyncio.to_thread(server.store.add, path)

    def store(connection: Any) -> Event:
        add_artifact(connection, replace(found.artifact, missing=False))
        return add_event(connection, "take", {"id": take, "changed": True}, found.client)

    server.hub.publish(await server.dispatcher.call(store))
    return TakeOut.of(await own_take(request, take))


@router.get("/uploads/{upload}/audio", response_class=AudioFile, responses=AUDIO)
async def audio(upload: str, request: Request, format: Format = "wav", subtype: Subtype | None = None) -> Response:
    """Return the audio of an uploaded file, also parts of it (Range), as it is stored or converted."""
    server = server_of(request)
    artifact = await server.dispatcher.call(lambda connection: get_artifact(connection, upload))
    path = server.store.path(artifact.hash) if artifact else None
    if artifact is None or path is None or not await asyncio.to_thread(path.is_file):
        raise NotFoundError(f"there is no uploaded file {shown(upload)}", "upload the file again")
    return await send_audio(request, artifact, path, format, subtype)
