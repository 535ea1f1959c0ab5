"""Routes of many takes at once: their ids, their tags, changes; and uploads that become takes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, model_validator

from soundloom.audio.clip import record_or_empty
from soundloom.audio.metadata import read_record
from soundloom.errors import shown
from soundloom.serving.http.contract import problems
from soundloom.serving.http.owners import owner_of, server_of
from soundloom.serving.http.schemas import Strict, TakeOut
from soundloom.serving.http.searching import search_of
from soundloom.serving.jobs.settings import NotFoundError
from soundloom.serving.storage.events import add_event
from soundloom.serving.storage.rows import Event, Take
from soundloom.serving.storage.search import Search
from soundloom.serving.storage.selections import Change, change_takes, list_tags
from soundloom.serving.storage.takes import add_take, get_artifact, list_ids

router = APIRouter(prefix="/v1/takes", tags=["library"])
MAX_TAKES = 100_000  # of a request
MAX_TAG = 60  # characters
Ids = Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=MAX_TAKES)]
Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG, pattern=r"^\S(.*\S)?$")]


class TakesChange(Strict):
    """One change of several takes; `deleted` false restores them."""

    takes: Ids
    favorite: bool | None = None
    deleted: bool | None = None
    add_tag: Tag | None = None
    remove_tag: Tag | None = None

    @model_validator(mode="after")
    def has_one_change(self) -> TakesChange:
        if (
            len(self.model_fields_set - {"takes"}) != 1
            or None in self.model_dump(exclude={"takes"}, exclude_unset=True).values()
        ):
            raise ValueError("name one of favorite, deleted, add_tag and remove_tag")
        return self


class ChangedOut(BaseModel):
    """The takes that were not so before."""

    changed: list[str]


class IdsOut(BaseModel):
    """All takes that a search finds, in its order."""

    ids: list[str]


class TagOut(BaseModel):
    """A tag, and how many takes have it."""

    tag: str
    takes: int


class TagsOut(BaseModel):
    """All tags that are used, the most frequent first."""

    tags: list[TagOut]


class UploadKeep(Strict):
    """An uploaded file, and its title."""

    upload: str = Field(max_length=100)
    title: str = Field("", max_length=200)


@router.get("/ids")
async def ids(request: Request, search: Annotated[Search, Depends(search_of)]) -> IdsOut:
    """List the ids of all takes that a search finds."""
    wanted = replace(search, limit=MAX_TAKES)
    return IdsOut(ids=await server_of(request).dispatcher.call(lambda connection: list_ids(connection, wanted)))


@router.get("/tags")
async def tags(request: Request) -> TagsOut:
    """List the tags that are used, the most frequent first."""
    owner = owner_of(request)
    found = await server_of(request).dispatcher.call(lambda connection: list_tags(connection, owner))
    return TagsOut(tags=[TagOut(tag=tag, takes=takes) for tag, takes in found])


@router.patch("")
async def change(body: TakesChange, request: Request) -> ChangedOut:
    """Change many takes at once. Sending the opposite for those in the answer takes it back."""
    server, owner = server_of(request), owner_of(request)
    wanted = Change(**body.model_dump(exclude={"takes"}))

    def store(connection: Any) -> tuple[list[str], Event]:
        changed = change_takes(connection, body.takes, owner, wanted)
        return changed, add_event(connection, "takes", {"changed": len(changed)}, owner)

    changed, event = await server.dispatcher.call(store)
    server.hub.publish(event)
    if body.deleted is not None:
        for take in changed:
            server.output.note(take)
    return ChangedOut(changed=changed)


@router.post("", status_code=201, responses=problems(404))
async def keep_upload(body: UploadKeep, request: Request) -> TakeOut:
    """Make a take of an uploaded file, with the record in its tags."""
    server, client = server_of(request), request.state.client
    artifact = await server.dispatcher.call(partial(get_artifact, hash=body.upload))
    if artifact is None:
        raise NotFoundError(f"there is no uploaded file {shown(body.upload)}", "upload the file again")
    path = server.store.path(artifact.hash)
    record = await asyncio.to_thread(record_or_empty, lambda: read_record(path))

    def store(connection: Any) -> tuple[Take, Event]:
        take = add_take(connection, artifact, record, "upload", client, title=body.title)
        return take, add_event(connection, "take", {"id": take.id}, client)

    take, event = await server.dispatcher.call(store)
    server.hub.publish(event)
    return TakeOut.of(take)
