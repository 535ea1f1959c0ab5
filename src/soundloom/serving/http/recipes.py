"""The route of recipes: how a take can be made again elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from soundloom.serving.http.owners import own_take, owner_of, server_of
from soundloom.serving.http.system import is_loopback
from soundloom.serving.http.takes import download_name
from soundloom.serving.recipes import recipe
from soundloom.serving.storage.takes import get_take

router = APIRouter(prefix="/v1/takes", tags=["library"])


class RecipeOut(BaseModel):
    """A take as a command line, as a Python program, and as the body of `POST /v1/jobs`."""

    command: str
    python: str
    job: dict[str, Any]


@router.get("/{take}/recipe")
async def recipe_of(take: str, request: Request) -> RecipeOut:
    """Say how a take can be made again: with the command line, with Python, or with this server."""
    server = server_of(request)
    found = await own_take(request, take)
    name = str(found.record.get("model") or server.settings.model)
    path, source, seconds = "take.wav", "", 0.0
    is_local = owner_of(request) is None and is_loopback(request)  # others do not have its files
    if is_local:
        path = str(server.store.path(found.artifact.hash))
    if found.record.get("mode") not in (None, "generate") and found.parent is not None:
        parent = await server.dispatcher.call(lambda connection: get_take(connection, str(found.parent)))
        if parent is not None:
            source = (
                str(server.store.path(parent.artifact.hash)) if is_local else await download_name(server, parent, "wav")
            )
            seconds = parent.artifact.seconds
    precision = next((one.settings.precision for one in server.dispatcher.devices), "auto")
    file = await download_name(server, found, "wav")
    made = await asyncio.to_thread(
        lambda: recipe(
            *(found, server.dispatcher.model(name), path, source, seconds),
            precision=precision,
            name=file.removesuffix(".wav"),
        )
    )
    return RecipeOut(**vars(made))
