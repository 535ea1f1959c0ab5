"""Answers to requests that fail: problem details, RFC 9457, with a hint."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from soundloom.atomic import HINTS
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
from soundloom.serving.jobs.settings import JobEndedError, NotAllowedError, NotFoundError, QueueFullError, TooLargeError
from soundloom.serving.models import LicenseError
from soundloom.serving.problems import INTERNAL, problem_of, without_folder

log = logging.getLogger(__name__)
SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
MEDIA_TYPE = "application/problem+json"
STATUS: tuple[tuple[type[SoundloomError], int], ...] = (  # the first class that fits
    (NotFoundError, 404),
    (JobEndedError, 409),
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
    """Answer a body or parameter of the wrong shape: 400 if it is no JSON, else 422."""
    if not isinstance(error, RequestValidationError):
        raise error
    found = [{"field": ".".join(map(str, one["loc"][1:])), "message": one["msg"]} for one in error.errors()[:20]]
    is_json = all(one["type"] != "json_invalid" for one in error.errors())
    detail = "; ".join(f"{one['field']}: {one['message']}" if one["field"] else one["message"] for one in found)
    return problem(422 if is_json else 400, "request-error", detail, errors=found)


async def answer_http(_: Request, error: Exception) -> JSONResponse:
    """Answer unknown paths, wrong methods and the like."""
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, "http-error", str(error.detail), headers=error.headers)


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
