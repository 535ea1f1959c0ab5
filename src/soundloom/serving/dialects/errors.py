"""Errors in the shape that each dialect's clients read: problem details are rewritten on the way out."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soundloom.serving.dialects.fields import FieldsError
from soundloom.serving.dialects.run import ClientGone, JobFailedError
from soundloom.serving.http.problems import MEDIA_TYPE, problem
from soundloom.serving.problems import INTERNAL

log = logging.getLogger(__name__)
Problem = Mapping[str, Any]
Rewrite = Callable[[Problem], tuple[int, dict[str, Any]]]
# A silent clip is silent again when clients repeat the request, as they do after 500.
_OF_THE_REQUEST = ("request-error", "audio-error", "model-not-found-error", "config-error", "output-error")
CLIENT_CLOSED = 499


def sentence(found: Problem) -> str:
    """Return what went wrong, and what would work."""
    return f"{found['detail']} ({found['hint']})" if found.get("hint") else str(found["detail"])


def add_error_handlers(app: FastAPI) -> None:
    """Answer the errors of dialects as problem details."""
    app.add_exception_handler(FieldsError, _answer_fields)
    app.add_exception_handler(JobFailedError, _answer_failure)
    app.add_exception_handler(ClientGone, _answer_nobody)


async def _answer_fields(_: Request, error: Exception) -> Response:
    if not isinstance(error, FieldsError):
        raise error
    errors = [{"field": name, "message": reason} for name, reason in error.faults]
    return problem(400, "request-error", str(error.args[0]), error.hint, errors=errors)


async def _answer_failure(_: Request, error: Exception) -> Response:
    """Answer a job that failed: 422 if its request was the reason, else 500."""
    if not isinstance(error, JobFailedError):
        raise error
    kind = error.problem["type"]
    status = 422 if kind in _OF_THE_REQUEST else 403 if kind == "license-error" else 500
    message = "the server has a fault; its log says more" if kind == INTERNAL else str(error.args[0])
    return problem(status, kind, message, error.hint)


async def _answer_nobody(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


class DialectErrors:
    """ASGI middleware, outside of all others, that rewrites problem details of some paths."""

    def __init__(self, app: ASGIApp, rewrites: Mapping[str, Rewrite]) -> None:
        """`rewrites` has the functions by the prefixes of their paths."""
        self.app, self.rewrites = app, rewrites

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        rewrite = next((one for prefix, one in self.rewrites.items() if path.startswith(prefix)), None)
        if scope["type"] != "http" or rewrite is None:
            await self.app(scope, receive, send)
            return
        held: Message | None = None
        body, is_started = b"", False

        async def rewritten(message: Message) -> None:
            nonlocal held, body, is_started
            if message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message["headers"]}
                if headers.get(b"content-type", b"").startswith(MEDIA_TYPE.encode()):
                    held = message
                    return
                is_started = True
            if held is None:
                await send(message)
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                is_started = True
                await _send(held, json.loads(body), rewrite, scope, receive, send)

        try:
            await self.app(scope, receive, rewritten)
        except Exception as error:
            if is_started:
                raise
            log.exception("a request failed", exc_info=error)
            found = {"type": INTERNAL, "status": 500, "detail": "the server has a fault; its log says more"}
            await _send({"headers": []}, found, rewrite, scope, receive, send)


async def _send(start: Message, found: Problem, rewrite: Rewrite, scope: Scope, receive: Receive, send: Send) -> None:
    status, content = rewrite(found)
    kept = {
        name.decode(): value.decode()
        for name, value in start["headers"]
        if name.lower() not in (b"content-type", b"content-length")
    }
    await JSONResponse(content, status, {**kept, "x-request-id": secrets.token_hex(16)})(scope, receive, send)
