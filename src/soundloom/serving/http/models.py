"""Routes of models."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Request

from soundloom.serving.http.answers import FreedOut, MemoryOut, ModelOut, ModelsOut, TaskOut, TermsOut
from soundloom.serving.http.contract import problems
from soundloom.serving.http.owners import require_all, server_of
from soundloom.serving.http.schemas import Strict

router = APIRouter(prefix="/v1/models", tags=["models"])


class PullIn(Strict):
    """Whether the license of a model is accepted."""

    accept_license: bool = False


@router.get("")
async def models(request: Request) -> ModelsOut:
    """List the models that can generate, in the shape of OpenAI's list."""
    return ModelsOut(data=[ModelOut(**one) for one in await asyncio.to_thread(server_of(request).models.facts)])


@router.get("/{name}/license")
async def terms(name: str, request: Request) -> TermsOut:
    """Return what the license of a model says."""
    return TermsOut(model=name, terms=server_of(request).models.terms(name))


@router.post("/{name}/pull", status_code=202, responses=problems(422), dependencies=[Depends(require_all)])
async def pull(name: str, request: Request, body: PullIn | None = None) -> TaskOut:
    """Download a model. Progress and the end are events; the list of models has the state too."""
    accepted = body is not None and body.accept_license
    return TaskOut(**vars(server_of(request).models.start(name, "pull", accept_license=accepted)))


@router.post("/{name}/pause", responses=problems(409), dependencies=[Depends(require_all)])
async def pause(name: str, request: Request) -> TaskOut:
    """Pause a download; the part that is there stays, also when the server ends."""
    return TaskOut(**vars(await server_of(request).models.pause(name)))


@router.post("/{name}/resume", status_code=202, responses=problems(409), dependencies=[Depends(require_all)])
async def resume(name: str, request: Request) -> TaskOut:
    """Go on with a download where it was paused."""
    return TaskOut(**vars(server_of(request).models.resume(name)))


@router.post("/{name}/stop", responses=problems(409), dependencies=[Depends(require_all)])
async def stop(name: str, request: Request) -> FreedOut:
    """Stop a download, running or paused, and remove what is there of it."""
    return FreedOut(model=name, bytes=await server_of(request).models.stop(name))


@router.delete("/{name}", responses=problems(409), dependencies=[Depends(require_all)])
async def remove(name: str, request: Request) -> FreedOut:
    """Remove a downloaded model from the disk; files that other models need stay."""
    return FreedOut(model=name, bytes=await server_of(request).models.remove(name))


@router.post("/{name}/verify", status_code=202, responses=problems(422), dependencies=[Depends(require_all)])
async def verify(name: str, request: Request) -> TaskOut:
    """Read all weights of a model and check them."""
    return TaskOut(**vars(server_of(request).models.start(name, "verify")))


@router.post("/{name}/load", status_code=202, responses=problems(422), dependencies=[Depends(require_all)])
async def load(name: str, request: Request) -> MemoryOut:
    """Load a model before the next job needs it."""
    await server_of(request).models.load(name)
    return MemoryOut(model=name, state="loading")


@router.post("/{name}/unload", status_code=202, responses=problems(422), dependencies=[Depends(require_all)])
async def unload(name: str, request: Request) -> MemoryOut:
    """Free a model; running clips are finished first."""
    await server_of(request).models.unload(name)
    return MemoryOut(model=name, state="unloading")
