"""The route of uploads."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile

from soundloom.serving.http.owners import server_of
from soundloom.serving.http.schemas import ArtifactOut
from soundloom.serving.jobs.settings import TooLargeError
from soundloom.serving.uploads import MAX_FILE_BYTES, store_upload

router = APIRouter(prefix="/v1", tags=["uploads"])
BLOCK = 1 << 20


@router.post("/uploads", status_code=201)
async def upload(request: Request, file: Annotated[UploadFile, File()]) -> ArtifactOut:
    """Store an audio file; its id can be the source of jobs. Files without a take are removed after 30 days."""
    server, size = server_of(request), 0
    with server.store.temporary(".upload") as path:
        with path.open("wb") as out:
            while block := await file.read(BLOCK):
                size += len(block)
                if size > MAX_FILE_BYTES:
                    raise TooLargeError(f"the file has more than {MAX_FILE_BYTES >> 20} MiB", "send a shorter one")
                out.write(block)
        return ArtifactOut.of(await store_upload(server, path, file.filename or ""))
