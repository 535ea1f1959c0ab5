"""What users may see and do: a user with a token of their own has their own jobs and takes, and nothing else."""

from __future__ import annotations

from functools import partial

from fastapi import Request

from soundloom.serving.jobs.settings import NotAllowedError, NotFoundError
from soundloom.serving.server import Server
from soundloom.serving.storage.rows import Job, Take
from soundloom.serving.storage.takes import get_take


def server_of(request: Request) -> Server:
    """Return the server of an application."""
    found: Server = request.app.state.server
    return found


def owner_of(request: Request) -> str | None:
    """Return the user who sends a request, or None for whoever runs the server, who sees everything."""
    found: str | None = request.state.user
    return found


def require_all(request: Request) -> None:
    """Raise NotAllowedError for users: only who runs the server may do this."""
    if owner_of(request) is not None:
        raise NotAllowedError("this concerns all users of the server", "ask whoever runs it")


async def own_job(request: Request, job: str) -> Job:
    """Return a job. Raises NotFoundError, also for that of another user."""
    found = await server_of(request).dispatcher.get(job)
    if owner_of(request) not in (None, found.client):
        raise NotFoundError(f"there is no job {job}", "GET /v1/jobs lists the jobs")
    return found


async def own_take(request: Request, take: str) -> Take:
    """Return a take. Raises NotFoundError, also for that of another user."""
    found = await find_take(server_of(request), take)
    if owner_of(request) not in (None, found.client):
        raise NotFoundError(f"there is no take {take}", "GET /v1/takes lists the takes")
    return found


async def find_take(server: Server, take: str) -> Take:
    """Return a take, whoever asks. Raises NotFoundError."""
    found = await server.dispatcher.call(lambda connection: get_take(connection, take))
    if found is None:
        raise NotFoundError(f"there is no take {take}", "GET /v1/takes lists the takes")
    return found


async def require_own_source(request: Request, source: str | None) -> None:
    """Raise NotFoundError for the take of another user; files that were uploaded belong to whoever knows their hash."""
    owner = owner_of(request)
    if owner is None or source is None:
        return
    found = await server_of(request).dispatcher.call(partial(get_take, take=source))
    if found is not None and found.client != owner:
        raise NotFoundError(f"there is no take or uploaded file {source}", "GET /v1/takes lists the takes")
