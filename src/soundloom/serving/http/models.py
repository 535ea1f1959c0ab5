"""Routes of models."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from soundloom.serving.http.owners import require_all, server_of
from soundloom.serving.http.schemas import Strict

router = APIRouter(prefix="/v1/models", tags=["models"])


class PullIn(Strict):
    """Whether the license of a model is accepted."""

    accept_license: bool = False


class TaskOut(BaseModel):
    """A download or a check."""

    model: str
    action: str
    state: str
    done: int
    total: int
    result: dict[str, Any]


class ModelOut(BaseModel):
    """A model, and what it can do: `modes` are kinds of jobs, `sounds` words for all sounds that it knows.

    `guidance`, `steps` and `sampler` are the defaults. `distilled` models follow no guidance or negative prompt.
    `pass_seconds` is the longest clip of one pass, `tokens` how much of a prompt is read, and `templates` and
    `instruments` what prompts and instructions it was trained on.
    """

    id: str
    object: str
    created: int
    owned_by: str
    license: str
    installed: bool
    bytes: int | None
    max_seconds: float | None
    default_seconds: float
    kind: str
    loaded: bool
    task: TaskOut | None
    modes: list[str]
    music: bool
    distilled: bool | None
    guidance: float
    steps: int | None
    sampler: str | None
    rate: int
    channels: int
    min_seconds: float
    pass_seconds: float
    tokens: int | None
    sounds: list[str]
    templates: list[str]
    instruments: list[str]


class ModelsOut(BaseModel):
    """The models, in the shape of OpenAI's list."""

    object: str = "list"
    data: list[ModelOut]


@router.get("")
async def models(request: Request) -> ModelsOut:
    """List the models that can generate, in the shape of OpenAI's list."""
    return ModelsOut(data=[ModelOut(**one) for one in await asyncio.to_thread(server_of(request).models.facts)])


@router.get("/{name}/license")
async def terms(name: str, request: Request) -> dict[str, str]:
    """Return what the license of a model says."""
    return {"model": name, "terms": server_of(request).models.terms(name)}


@router.post("/{name}/pull", status_code=202, dependencies=[Depends(require_all)])
async def pull(name: str, request: Request, body: PullIn | None = None) -> TaskOut:
    """Download a model. Progress and the end are events; the list of models has the state too."""
    accepted = body is not None and body.accept_license
    return TaskOut(**vars(server_of(request).models.start(name, "pull", accept_license=accepted)))


@router.post("/{name}/verify", status_code=202, dependencies=[Depends(require_all)])
async def verify(name: str, request: Request) -> TaskOut:
    """Read all weights of a model and check them."""
    return TaskOut(**vars(server_of(request).models.start(name, "verify")))


@router.post("/{name}/load", status_code=202, dependencies=[Depends(require_all)])
async def load(name: str, request: Request) -> dict[str, str]:
    """Load a model before the next job needs it."""
    await server_of(request).models.load(name)
    return {"model": name, "state": "loading"}


@router.post("/{name}/unload", status_code=202, dependencies=[Depends(require_all)])
async def unload(name: str, request: Request) -> dict[str, str]:
    """Free a model; running clips are finished first."""
    await server_of(request).models.unload(name)
    return {"model": name, "state": "unloading"}
