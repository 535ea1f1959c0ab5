"""The route that keeps a mix of regions: some of an edit as they are, others as they were before."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from soundloom.errors import RequestError
from soundloom.serving.http.contract import problems
from soundloom.serving.http.owners import own_take, server_of
from soundloom.serving.http.schemas import Strict, TakeOut
from soundloom.serving.http.takes import audio_file
from soundloom.serving.jobs.resolve import file_bytes
from soundloom.serving.mix import write_mix
from soundloom.serving.storage.events import add_event
from soundloom.serving.storage.rows import Artifact, Event, Take
from soundloom.serving.storage.takes import add_take

router = APIRouter(prefix="/v1/takes", tags=["library"])
MAX_REGIONS = 32


class RegionIn(Strict):
    """Samples of a take from `start` up to, not including, `end`."""

    start: int = Field(ge=0)
    end: int = Field(ge=1)


class MixIn(Strict):
    """The regions that are as they were before the edit, in order."""

    regions: list[RegionIn] = Field(min_length=1, max_length=MAX_REGIONS)


@router.post("/{take}/mix", status_code=201, responses=problems(404, 507))
async def keep_mix(take: str, body: MixIn, request: Request) -> TakeOut:
    """Make a take of an edited one, with some regions as they were in the take that it was made from.

    All samples are those of the two takes. The new take is made from the edited one.
    """
    server, client = server_of(request), request.state.client
    edited = await own_take(request, take)
    if edited.parent is None:
        raise RequestError("this take was made from words alone, so nothing of it was different before")
    before = await own_take(request, edited.parent)
    paths = await audio_file(server, edited), await audio_file(server, before)
    await server.dispatcher.disk.require(file_bytes(edited.artifact.samples, edited.artifact.channels))
    spans = [(region.start, region.end) for region in body.regions]
    with server.store.temporary() as target:
        made = await asyncio.to_thread(write_mix, target, *paths, spans, edited.artifact.hash)
        stored = await asyncio.to_thread(server.store.add, target)
    artifact = Artifact(stored.hash, stored.bytes, **made["facts"], made=time.time())

    def store(connection: Any) -> tuple[Take, Event]:
        found = add_take(connection, artifact, made["record"], "mix", client, edited.id)
        return found, add_event(connection, "take", {"id": found.id}, client)

    kept, event = await server.dispatcher.call(store)
    server.hub.publish(event)
    return TakeOut.of(kept)
