"""Routes of jobs and the queue."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from soundloom.serving.http.contract import problems
from soundloom.serving.http.owners import own_job, own_take, owner_of, require_all, require_own_source, server_of
from soundloom.serving.http.problems import problem
from soundloom.serving.http.schemas import CheckOut, ClipPlan, JobChange, JobIn, JobOut
from soundloom.serving.jobs.estimate import Timings
from soundloom.serving.server import Server
from soundloom.serving.storage.events import answer_key, claim_key
from soundloom.serving.storage.jobs import list_jobs
from soundloom.serving.storage.rows import State

router = APIRouter(prefix="/v1", tags=["jobs"])
MAX_WAIT = 60.0  # seconds
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, description="wait this long for the end, in seconds")]


@router.post("/jobs", status_code=202, response_model=JobOut, responses=problems(404, 409, 415, 507))
async def submit(
    body: JobIn,
    request: Request,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    prefer: Annotated[str | None, Header(max_length=255)] = None,
) -> Any:
    """Accept a job. `Prefer: wait=30` waits for its end; `Idempotency-Key` makes repeated requests one job."""
    server, client = server_of(request), request.state.client
    await require_own_source(request, body.source)
    if body.parent is not None:
        await own_take(request, body.parent)
    key = idempotency_key
    if key is not None:
        digest = hashlib.sha256(await request.body()).hexdigest()
        state, answer = await server.dispatcher.call(lambda c: claim_key(c, client, key, digest))
        if state == "other":
            return problem(422, "request-error", "this Idempotency-Key was used with another body", "use a new key")
        if state == "pending":
            return problem(
                409, "conflict", "the first request with this Idempotency-Key is being accepted", "ask again"
            )
        if state == "answered":
            response.headers["Idempotency-Replayed"] = "true"
            return await _answer(server, response, answer["id"], prefer)
    try:
        job = await server.dispatcher.submit(body.body(server.settings.model), client)
    except BaseException:
        if key is not None:
            await server.dispatcher.call(lambda c: answer_key(c, client, key, None))
        raise
    if key is not None:
        await server.dispatcher.call(lambda c: answer_key(c, client, key, {"id": job.id}))
    return await _answer(server, response, job.id, prefer)


async def _answer(server: Server, response: Response, job: str, prefer: str | None) -> JobOut:
    response.headers["Location"] = f"/v1/jobs/{job}"
    name, _, seconds = (prefer or "").partition("=")
    if name.strip() == "wait" and seconds.strip().isdecimal():
        response.headers["Preference-Applied"] = "wait"
        return JobOut.of(await server.dispatcher.wait_for_end(job, min(MAX_WAIT, float(seconds))))
    return JobOut.of(await server.dispatcher.get(job))


@router.post("/check", responses=problems(404, 415))
async def check(body: JobIn, request: Request) -> CheckOut:
    """Say what a job would do, without running it."""
    server = server_of(request)
    dispatcher, job = server.dispatcher, body.body(server.settings.model)
    await require_own_source(request, job.source)
    source = await dispatcher.source_path(job.source) if job.source else None
    clips = await asyncio.to_thread(dispatcher.check, job, source)
    timings = await dispatcher.timings(job.model, dispatcher.devices[0].loaded) if dispatcher.devices else Timings()
    groups: dict[Any, int] = {}
    for clip in clips:
        groups[clip.key] = groups.get(clip.key, 0) + 1
    limit = dispatcher.settings.max_batch
    seconds, passes = 0.0, 0
    for key, count in groups.items():
        first = next(clip for clip in clips if clip.key == key)
        passes += -(-count // limit) * first.passes
        seconds += sum(timings.stages(first.frames, count, first.seconds_to_generate).values())
    return CheckOut(
        model=job.model,
        clips=[ClipPlan.of(clip) for clip in clips],
        passes=passes,
        estimated_seconds=round(seconds, 2),
    )


@router.get("/jobs")
async def jobs(
    request: Request,
    state: Annotated[list[State] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[JobOut]:
    """List jobs in the order of the queue, those that have ended first."""
    owner = owner_of(request)
    found = await server_of(request).dispatcher.call(lambda c: list_jobs(c, state or (), owner, limit))
    return [JobOut.of(job) for job in found]


@router.get("/jobs/{job}")
async def job(job: str, request: Request, wait: Wait = 0) -> JobOut:
    """Return a job."""
    server = server_of(request)
    await own_job(request, job)
    found = JobOut.of(await server.dispatcher.wait_for_end(job, wait))
    progress = server.dispatcher.progress(job)
    return found.model_copy(update={"progress": dict(progress) if progress else None})


@router.post("/jobs/{job}/cancel", responses=problems(409))
async def cancel(job: str, request: Request) -> JobOut:
    """Cancel a job; clips that are finished stay."""
    await own_job(request, job)
    return JobOut.of(await server_of(request).dispatcher.cancel(job))


@router.post("/jobs/{job}/retry", status_code=202, responses=problems(409))
async def retry(job: str, request: Request) -> JobOut:
    """Queue the missing clips of a job that failed or was canceled."""
    await own_job(request, job)
    return JobOut.of(await server_of(request).dispatcher.retry(job))


@router.patch("/jobs/{job}", responses=problems(409))
async def move(job: str, body: JobChange, request: Request) -> JobOut:
    """Move a job in the queue."""
    await own_job(request, job)
    return JobOut.of(await server_of(request).dispatcher.move(job, body.before))


@router.post("/queue/pause", status_code=204, dependencies=[Depends(require_all)])
async def pause(request: Request) -> None:
    """Hold the queue; what runs goes on."""
    await server_of(request).dispatcher.pause(True)


@router.post("/queue/resume", status_code=204, dependencies=[Depends(require_all)])
async def resume(request: Request) -> None:
    """Go on with the queue."""
    await server_of(request).dispatcher.pause(False)
