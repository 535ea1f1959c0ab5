"""Routes of adapters."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, File, Request, UploadFile
from pydantic import BaseModel, Field

from soundloom.serving.adapter_uploads import keep_adapter
from soundloom.serving.http.contract import problems
from soundloom.serving.http.files import receive
from soundloom.serving.http.owners import require_all, server_of
from soundloom.serving.jobs.settings import NotAllowedError

router = APIRouter(prefix="/v1/loras", tags=["models"])


class LoraOut(BaseModel):
    """An adapter: the models that it fits, its trigger words, and the strength that its author advises.

    One that cannot be read has only a name and an `error`.
    """

    name: str
    sha256: str = ""
    type: str = ""
    rank: int = 0
    alpha: float = 0.0
    layers: int = 0
    fits: list[str] = Field(default_factory=list)
    trigger: str | None = None
    strength: float | None = None
    notices: list[str] = Field(default_factory=list)
    error: str | None = None


class LorasOut(BaseModel):
    """The adapters in the server's folder of adapters."""

    loras: list[LoraOut]


@router.get("")
async def loras(request: Request) -> LorasOut:
    """List the adapters in the folder of adapters."""
    found = await asyncio.to_thread(server_of(request).adapters.all)
    return LorasOut(loras=[LoraOut(**one) for one in found])


@router.post("", status_code=201, responses=problems(413, 507), dependencies=[Depends(require_all)])
async def upload(request: Request, file: Annotated[UploadFile, File()]) -> LoraOut:
    """Add an adapter, as safetensors, to the folder of adapters; only if the server was started with --lora-uploads."""
    server = server_of(request)
    if not server.settings.lora_uploads:
        hint = "start it with --lora-uploads, or copy the file into its folder of adapters"
        raise NotAllowedError("this server accepts no adapters", hint)
    with server.store.temporary(".safetensors") as path:
        await server.dispatcher.disk.require(await receive(file, path))
        name = await asyncio.to_thread(keep_adapter, path, file.filename or "")
    found = await asyncio.to_thread(server.adapters.all)
    return next(LoraOut(**one) for one in found if one["name"] == name)
