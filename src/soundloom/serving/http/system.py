"""Routes about the server itself: health, readiness, devices, models, and logging in."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from soundloom.serving.http.answers import DeviceOut, DiskOut, HealthOut, OutputOut, ReadyOut, SystemOut, WaitingOut
from soundloom.serving.http.contract import content, problems
from soundloom.serving.http.guard import Access, too_many_attempts
from soundloom.serving.http.owners import owner_of, server_of
from soundloom.serving.http.problems import problem
from soundloom.serving.http.tokens import COOKIE_SECONDS, exchange_link, open_cookie
from soundloom.serving.memory_needs import memory_of
from soundloom.serving.metrics import Metrics
from soundloom.serving.storage.jobs import waiting
from soundloom.version import __version__

router = APIRouter(tags=["system"])


@router.get("/health")
async def health() -> HealthOut:
    """Answer as long as the server lives."""
    return HealthOut(version=__version__)


@router.get("/ready", response_model=ReadyOut)
async def ready(request: Request) -> Response:
    """Answer 200 if a worker can take a job, else 503 and why not."""
    reason = server_of(request).not_ready
    if reason:
        return problem(503, "not-ready", reason, headers={"Retry-After": "2"})
    return JSONResponse(ReadyOut().model_dump())


@router.get("/login", response_class=RedirectResponse, status_code=303, responses=problems(401, 429))
async def login(request: Request, link: str = "") -> Response:
    """Exchange the secret of a link that works once for a cookie."""
    server = server_of(request)
    cookie = await server.dispatcher.call(lambda connection: exchange_link(connection, link)) if link else None
    if cookie is None:
        return problem(401, "no-token", "this link was used, or is too old", "`soundloom serve` prints a new one")
    return _with_cookie(request, cookie)


@router.post("/login", response_class=RedirectResponse, status_code=303, responses=problems(401, 429))
async def login_with_token(request: Request, token: Annotated[str, Form(max_length=1000)] = "") -> Response:
    """Exchange a token for a cookie."""
    access: Access = request.app.state.access
    address = request.state.client
    owner = access.tokens.owner(token)
    if owner is None and not access.tokens.may_try(address):
        return too_many_attempts()
    if owner is None:
        access.tokens.count_failure(address)
        return problem(401, "no-token", "this token is unknown", "the server's data folder has it in the file `token`")
    user = owner if owner in access.tokens.users else None
    cookie = await server_of(request).dispatcher.call(lambda connection: open_cookie(connection, user))
    return _with_cookie(request, cookie)


def _with_cookie(request: Request, cookie: str) -> Response:
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        request.app.state.access.cookie, cookie, max_age=int(COOKIE_SECONDS), httponly=True, samesite="strict", path="/"
    )
    return answer


@router.get("/v1/system")
async def system(request: Request) -> SystemOut:
    """Return devices, models in memory, the default model, the length of the queue, and disk space."""
    server = server_of(request)
    jobs, items = await server.dispatcher.call(waiting)
    space = await server.dispatcher.disk.space()
    folder = str(server.settings.output) if server.settings.output else None
    devices = [
        DeviceOut(
            name=device.name,
            device=device.loaded.device or device.settings.device,
            engine=device.loaded.engine,
            precision=device.loaded.precision,
            memory=memory_of(device),
            model=device.loaded.model,
            busy=device.run is not None,
            held=device.held,
            restarts=device.restarts,
        )
        for device in server.dispatcher.devices
    ]
    return SystemOut(
        version=__version__,
        user=owner_of(request),
        model=server.settings.model,
        uptime=time.time() - server.started,
        paused=server.dispatcher.is_paused,
        lora_uploads=server.settings.lora_uploads and owner_of(request) is None,
        waiting=WaitingOut(jobs=jobs, clips=items),
        devices=devices,
        notice=server.notice,
        disk=DiskOut(**{name: getattr(space, name) for name in DiskOut.model_fields}),
        output=OutputOut(folder=folder if is_loopback(request) else None, works=not server.output.problem),
    )


def is_loopback(request: Request) -> bool:
    """Whether a request comes from this machine."""
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


@router.get("/metrics", response_class=PlainTextResponse, responses=content("text/plain", text="Figures", kind=""))
async def metrics(request: Request) -> Response:
    """Return figures in the format of Prometheus."""
    found: Metrics = request.app.state.metrics
    return Response(found.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
