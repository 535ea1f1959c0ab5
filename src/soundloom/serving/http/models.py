"""Routes of models."""

from __future__ import annotations

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


@router.get("")
async def models(request: Request) -> dict[str, Any]:
    """List the models that can generate, in the shape of OpenAI's list."""
    return {"object": "list", "data": server_of(request).models.facts()}


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
