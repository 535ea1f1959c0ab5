"""Stability AI's `/v2beta/audio`: the synchronous family, and the asynchronous one with results by polling."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from soundloom.config.catalogue import find_entry
from soundloom.config.stable_audio.request import MIN_NOISE
from soundloom.serving.dialects.errors import Problem, sentence
from soundloom.serving.dialects.fields import Fields
from soundloom.serving.dialects.run import (
    MEDIA_TYPES,
    Started,
    answer_headers,
    encoded,
    finish,
    model_named,
    read_form,
    start,
    store_part,
)
from soundloom.serving.http.owners import server_of
from soundloom.serving.jobs.resolve import JobBody
from soundloom.serving.jobs.settings import NotFoundError
from soundloom.serving.server import Server
from soundloom.serving.storage.rows import Artifact, Take
from soundloom.serving.storage.takes import add_take

PREFIXES = ("/v2beta", "/proxy/stability/v2beta")  # the second one is that of ComfyUI
ALIASES = ("stable-audio-2", "stable-audio-3", "stable-audio")  # names of models that mean the server's own
MAX_SEED = 2**32 - 2
SYNC_BYTES, ASYNC_BYTES = 50 * 2**20, 100 * 2**20
KEPT_SECONDS = 86_400.0  # of results
RETRY_SECONDS = 2
NAMES = {
    400: "bad_request",
    401: "unauthorized",
    403: "licence_required",
    404: "not_found",
    409: "conflict",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    500: "internal_error",
    503: "unavailable",
    507: "insufficient_storage",
}
Kind = Literal["text-to-audio", "audio-to-audio", "inpaint"]


@dataclass(frozen=True)
class Asked:
    """A request as jobs, and how it is to be answered."""

    bodies: tuple[JobBody, ...]
    format: str
    is_json: bool
    fields: Fields
    unchanged: Artifact | None = None  # the answer, if the source is to stay as it is


def rewrite(found: Problem) -> tuple[int, dict[str, Any]]:
    """Return an error as Stability's clients read it."""
    status = found["status"]
    if found["type"] in ("model-not-found-error", "audio-error") and status in (404, 415):
        name = "model" if status == 404 else "audio"
        status, errors = 400, [f"{name}: {sentence(found)}"]
    else:
        errors = [f"{one['field']}: {one['message']}" for one in found.get("errors", ())] or [sentence(found)]
    return status, {"id": secrets.token_hex(32), "name": NAMES.get(status, "error"), "errors": errors}


def create_router() -> APIRouter:
    """Return the routes below `/v2beta`."""
    router = APIRouter(include_in_schema=False)
    results: dict[str, Result] = {}
    for kind in ("text-to-audio", "audio-to-audio", "inpaint"):
        router.add_api_route(f"/audio/stable-audio-2/{kind}", _sync(kind), methods=["POST"])
        router.add_api_route(f"/audio/stable-audio/{kind}", _async(kind, results), methods=["POST"])
    for path in ("/audio/results/{id}", "/results/{id}"):
        router.add_api_route(path, _get_result(results), methods=["GET"])
    return router


def _sync(kind: Kind) -> Callable[..., Any]:
    async def answer(request: Request) -> Response:
        server, client = server_of(request), request.state.client
        asked = await _read(server, request, kind, SYNC_BYTES)
        if asked.unchanged is not None:
            return await _answer(server, await _keep(server, asked, client), asked, request)
        key = request.headers.get("idempotency-key")
        started = await start(server, asked.bodies, client, key)
        take = await finish(server, started, client, None if key else request)
        return await _answer(server, take, asked, request)

    return answer


# Requests


async def _read(server: Server, request: Request, kind: Kind, limit: int) -> Asked:
    """Translate a form into jobs. Raises FieldsError, TooLargeError, AudioError or RequestError."""
    async with _Form(await read_form(request, limit)) as form:
        fields = Fields(form.values, is_form=True)
        record = _common(fields)
        model = model_named(server, fields.text("model", longest=200), ALIASES)
        duration = fields.number("duration", 0.01, 86_400)
        format = fields.choice("output_format", ("mp3", "wav", "flac"), "mp3")
        strength = fields.number("strength", 0, 1) if kind == "audio-to-audio" else None
        masks = _masks(form, fields) if kind == "inpaint" else []
        part = form.audio
        if kind != "text-to-audio":
            fields.get("audio")
            if part is None:
                fields.fault("audio", "is required, as a file")
        fields.check()
        job = partial(_jobs, record=record, model=model, duration=duration)
        accept = request.headers.get("accept", "").lower()
        answer = partial(
            Asked, format=format, is_json="application/json" in accept and "audio/" not in accept, fields=fields
        )
        if part is None or kind == "text-to-audio":
            return answer(job(kind, None, seconds=duration or _usual_seconds(model)))
        artifact = await store_part(server, part, duration or 0.0)
        unchanged = artifact if strength == 0 and (duration or 0.0) <= artifact.seconds + 0.01 else None
        return answer(job(kind, artifact, strength=strength, masks=masks), unchanged=unchanged)


def _common(fields: Fields) -> dict[str, Any]:
    record: dict[str, Any] = {"prompt": fields.text("prompt", required=True)}
    if negative := fields.text("negative_prompt"):
        record["negative_prompt"] = negative
    if seed := fields.whole("seed", 0, MAX_SEED):  # 0: any
        record["seed"] = seed
    if (steps := fields.whole("steps", 1, 10_000)) is not None:
        record["steps"] = steps
    if (scale := fields.number("cfg_scale", 0, 100)) is not None:
        record["guidance"] = {"scale": scale}
    return record


def _masks(form: _Form, fields: Fields) -> list[tuple[float, float]]:
    """Return pairs of mask_start and mask_end, which may be repeated."""
    fields.get("mask_start"), fields.get("mask_end")
    starts, ends = (
        [number for text in form.all(name) or [default] if (number := _one(fields, name, text)) is not None]
        for name, default in (("mask_start", "30"), ("mask_end", "1e9"))
    )
    if len(starts) != len(ends):
        fields.fault("mask_start", "and mask_end must be given equally often")
    return list(zip(starts, ends, strict=False))


def _one(fields: Fields, name: str, text: str) -> float | None:
    read = Fields({name: text}, is_form=True)
    number = read.number(name, 0)
    fields.faults += read.faults
    return number


def _jobs(
    kind: Kind,
    artifact: Artifact | None,
    *,
    record: dict[str, Any],
    model: str,
    duration: float | None,
    seconds: float | None = None,
    strength: float | None = None,
    masks: list[tuple[float, float]] | None = None,
) -> tuple[JobBody, ...]:
    """Return one job, or two: audio that is to become longer is varied first, and then continued."""
    if artifact is None:
        return (JobBody("generate", record | ({"seconds": seconds} if seconds else {}), model),)
    source, is_longer = artifact.hash, (duration or 0.0) > artifact.seconds + 0.01
    if kind == "inpaint":
        total = max(duration or 0.0, artifact.seconds)
        regions = [[start, min(end, total)] for start, end in masks or ()]
        longer = {"seconds": duration} if is_longer else {}
        return (JobBody("extend" if is_longer else "inpaint", record | longer | {"regions": regions}, model, source),)
    first = JobBody("vary", record | {"noise": max(MIN_NOISE, 1.0 if strength is None else strength)}, model, source)
    if not is_longer:
        return (first,)
    longer_body = JobBody("extend", record | {"seconds": duration}, model, source)
    return (longer_body,) if strength == 0 else (first, longer_body)


def _usual_seconds(model: str) -> float | None:
    """Return the longest clip that a model makes in one pass, at most 190 s: the default of the service."""
    entry = find_entry(model.partition("@")[0])
    return min(190.0, entry.max_seconds) if entry and entry.max_seconds else None


class _Form:
    """A form: its text fields, and the file `audio`. Other files are ignored, as are empty ones."""

    def __init__(self, form: Any) -> None:
        self._form = form
        self._items = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
        self.audio = next((value for name, value in files if name == "audio"), None)
        self.values: dict[str, Any] = dict(reversed(self._items))
        self.values |= {name: "a file" for name, value in files if value.size}

    def all(self, name: str) -> list[str]:
        return [value for one, value in self._items if one == name]

    async def __aenter__(self) -> _Form:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._form.close()


# Answers


async def _answer(server: Server, take: Take, asked: Asked, request: Request) -> Response:
    data = await encoded(server, take, asked.format)
    return _audio(data, take, asked, is_json=asked.is_json)


def _audio(data: bytes, take: Take, asked: Asked, *, is_json: bool) -> Response:
    headers = {"x-request-id": secrets.token_hex(16), **answer_headers(asked.fields)}
    seed, media = take.record.get("seed", 0), MEDIA_TYPES[asked.format]
    if not is_json:
        return Response(data, headers=headers | {"finish-reason": "SUCCESS", "seed": str(seed)}, media_type=media)
    content: dict[str, Any] = {"audio": base64.b64encode(data).decode(), "seed": seed, "finish_reason": "SUCCESS"}
    content |= {"ignored": asked.fields.ignored} if asked.fields.ignored else {}
    content |= {"warnings": take.record["warnings"]} if take.record.get("warnings") else {}
    return JSONResponse(content, headers=headers)


async def _keep(server: Server, asked: Asked, client: str) -> Take:
    """Return the source as a take, recorded as unchanged."""
    artifact, request = asked.unchanged, asked.bodies[0].request
    if artifact is None:
        raise NotFoundError("there is no source")
    note = "strength 0: the source, unchanged"
    record = {"seed": request.get("seed", 0), "request": dict(request), "warnings": [note]}
    return await server.dispatcher.call(partial(add_take, artifact=artifact, record=record, kind="vary", client=client))


# The asynchronous family


@dataclass
class Result:
    """A request that runs, or has ended."""

    asked: Asked
    client: str
    task: asyncio.Task[Take]
    made: float = field(default_factory=time.monotonic)


def _async(kind: Kind, results: dict[str, Result]) -> Callable[..., Any]:
    async def accept(request: Request) -> Response:
        server, client = server_of(request), request.state.client
        asked = await _read(server, request, kind, ASYNC_BYTES)
        if asked.unchanged is not None:
            work = asyncio.create_task(_keep(server, asked, client))
        else:
            started: Started = await start(server, asked.bodies, client, request.headers.get("idempotency-key"))
            work = asyncio.create_task(finish(server, started, client))
        work.add_done_callback(lambda task: task.cancelled() or task.exception())  # read, or Python warns
        for old in [id for id, result in results.items() if time.monotonic() - result.made > KEPT_SECONDS]:
            results.pop(old).task.cancel()
        id = secrets.token_hex(32)
        results[id] = Result(asked, client, work)
        return JSONResponse({"id": id}, 202, answer_headers(asked.fields))

    return accept


def _get_result(results: dict[str, Result]) -> Callable[..., Any]:
    async def get(id: str, request: Request) -> Response:
        found = results.get(id)
        if found is None or found.client != request.state.client or time.monotonic() - found.made > KEPT_SECONDS:
            raise NotFoundError("there is no result with this id", "results are kept for 24 hours")
        if not found.task.done():
            return JSONResponse({"id": id, "status": "in-progress"}, 202, {"Retry-After": str(RETRY_SECONDS)})
        take, server = found.task.result(), server_of(request)
        data = await encoded(server, take, found.asked.format)
        accept = request.headers.get("accept", "").lower()
        return _audio(data, take, found.asked, is_json="application/json" in accept and "audio/" not in accept)

    return get
