"""Answers to requests that fail: problem details, RFC 9457, with a hint."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from soundloom.atomic import HINTS
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import (
    AudioError,
    CheckpointError,
    ConfigError,
    DownloadError,
    ModelNotFoundError,
    RequestError,
    SoundloomError,
    WriteError,
)
from soundloom.serving.jobs.settings import JobStateError, NotAllowedError, NotFoundError, QueueFullError, TooLargeError
from soundloom.serving.models import LicenseError, ModelStateError
from soundloom.serving.problems import INTERNAL, problem_of, without_folder

log = logging.getLogger(__name__)
SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
MEDIA_TYPE = "application/problem+json"
REQUEST_FIELDS = {item.name for kind in (GenerationRequest, MusicRequest) for item in fields(kind)} - {"source"}
STATUS: tuple[tuple[type[SoundloomError], int], ...] = (  # the first class that fits
    (NotFoundError, 404),
    (JobStateError, 409),
    (ModelStateError, 409),
    (QueueFullError, 429),
    (TooLargeError, 413),
    (ModelNotFoundError, 404),
    (LicenseError, 403),
    (NotAllowedError, 403),
    (DownloadError, 502),
    (AudioError, 415),
    (WriteError, 507),
    (RequestError, 422),
    (ConfigError, 422),
    (CheckpointError, 422),
    (SoundloomError, 503),
)


def problem(
    status: int,
    kind: str,
    detail: str,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> JSONResponse:
    """Return problem details as an answer."""
    content: dict[str, Any] = {"type": kind, "title": kind.replace("-", " "), "status": status, "detail": detail}
    content |= {"hint": hint, **({"errors": errors} if errors else {})}
    return JSONResponse(content, status, dict(headers or {}), MEDIA_TYPE)


def status_of(error: SoundloomError) -> int:
    """Return the status of an error."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


async def answer_error(request: Request, error: Exception) -> JSONResponse:
    """Answer a SoundloomError."""
    if not isinstance(error, SoundloomError):
        raise error
    server = getattr(request.app.state, "server", None)
    found, status = problem_of(error), status_of(error)
    found = without_folder(found, server.settings.data) if server else found
    headers = {"Retry-After": "5"} if status in (429, 503) else None
    return problem(status, found["type"], found["message"], found["hint"], headers)


async def answer_invalid(_: Request, error: Exception) -> JSONResponse:
    """Answer a body or parameter of the wrong shape: 400 if it is not JSON, else 422."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = error.errors()
    for fault in faults:
        if fault["type"] == "json_invalid":
            detail = f"the body is not valid JSON: {fault['ctx']['error']}, at character {fault['loc'][-1]}"
            return problem(400, "request-error", detail, "check its quotes, commas and brackets")
    if any(tuple(fault["loc"]) == ("body",) for fault in faults):
        detail = "the request has no body" if faults[0]["type"] == "missing" else "the body is not a JSON object"
        return problem(422, "request-error", detail, "send an object, with the header Content-Type: application/json")
    found = [{"field": ".".join(map(str, one["loc"][1:])), "message": _message(one)} for one in faults[:20]]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in found)
    return problem(422, "request-error", detail, _hint(faults), errors=found)


def _message(fault: Mapping[str, Any]) -> str:
    return "unknown field" if fault["type"] == "extra_forbidden" else str(fault["msg"])


def _hint(faults: Sequence[Mapping[str, Any]]) -> str:
    """Return what would work for wrong fields, or ""."""
    unknown = {str(fault["loc"][-1]) for fault in faults if fault["type"] == "extra_forbidden"}
    if unknown & REQUEST_FIELDS:
        return f"{', '.join(sorted(unknown & REQUEST_FIELDS))}: put it into the object `request`"
    if any(tuple(fault["loc"]) == ("body", "file") for fault in faults):
        return "send the file as multipart/form-data, in the field `file`"
    return "GET /openapi.json lists the fields" if unknown else ""


async def answer_http(_: Request, error: Exception) -> JSONResponse:
    """Answer unknown paths, wrong methods and the like."""
    if not isinstance(error, HTTPException):
        raise error
    hint = "GET /openapi.json lists the routes" if error.status_code in (404, 405) else ""
    return problem(error.status_code, "http-error", str(error.detail), hint, headers=error.headers)


async def answer_full(request: Request, error: Exception) -> JSONResponse:
    """Answer an error of the disk: 507 if it is full or cannot be written, else as a fault of the server."""
    is_full = isinstance(error, OSError) and error.errno in HINTS
    if isinstance(error, sqlite3.Error):
        is_full = getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_FULL
    if not is_full:
        return await answer_internal(request, error)
    log.error("the disk cannot be written: %s", error)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return problem(507, "write-error", f"the server cannot write to its disk: {reason}", "free some space there")


async def answer_internal(_: Request, error: Exception) -> JSONResponse:
    """Answer a fault of the server, without its details."""
    log.exception("a request failed", exc_info=error)
    return problem(500, INTERNAL, "the server has a fault; its log says more")
