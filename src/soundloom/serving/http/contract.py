"""The description of the interface, `/openapi.json`: what all routes share, and the shape of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from soundloom.serving.http.guard import PUBLIC, TICKETS
from soundloom.serving.http.problems import MEDIA_TYPE

COMMON = (401, 403, 413, 421, 429, 503, 507)  # answers of any route: of the guard, at a stop, or by a full disk
PUBLIC_COMMON = (403, 413, 421)
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
PHRASES = {
    400: "The request cannot be read",
    401: "There is no valid token or cookie",
    403: "The request comes from another page, or a license was not accepted",
    404: "There is no such thing",
    409: "Its state does not allow this",
    413: "The body is too large",
    415: "This is no audio",
    416: "The range is outside the file",
    421: "The server has another name",
    422: "The request asks for something that is not possible",
    429: "Too many at once: wait as long as Retry-After says",
    501: "This machine has no program for it",
    502: "A download failed",
    503: "The server cannot do this now",
    507: "The disk is full",
}
Answers = dict[int | str, dict[str, Any]]


class FieldFault(BaseModel):
    """A field of a request, and what is wrong with it."""

    field: str
    message: str


class ProblemOut(BaseModel):
    """Problem details, RFC 9457: what was asked, what was found, and in `hint` what would work."""

    type: str
    title: str
    status: int
    detail: str
    hint: str
    errors: list[FieldFault] = []


def problems(*statuses: int) -> Answers:
    """Describe answers that are problem details."""
    return {status: _problem(status) for status in statuses}


def content(*media_types: str, text: str = "Audio", status: int = 200, kind: str = "binary") -> Answers:
    """Describe an answer that is no JSON."""
    schema = {"type": "string", "format": kind} if kind else {"type": "string"}
    return {status: {"description": text, "content": {name: {"schema": schema} for name in media_types}}}


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """Return the description of an application, with the errors and the security that its routes share."""
    if app.openapi_schema is None:
        app.openapi_schema = _described(app)
    return app.openapi_schema


def _described(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    used: set[int] = set()
    for path, operations in found["paths"].items():
        for operation in operations.values():
            is_public = path in PUBLIC or path.startswith(TICKETS)
            answers = operation["responses"]
            statuses = {*(PUBLIC_COMMON if is_public else COMMON)}
            statuses |= {400} if "requestBody" in operation else set()
            statuses |= {404} if "{" in path else set()
            statuses |= {422} if "422" in answers else set()  # in place of the shape that FastAPI has for it
            statuses |= {int(status) for status in answers if MEDIA_TYPE in answers[status].get("content", ())}
            answers |= {str(status): {"$ref": f"#/components/responses/problem-{status}"} for status in statuses}
            used |= statuses
            operation["responses"] = dict(sorted(answers.items()))
            operation["security"] = [] if is_public else [{name: []} for name in SCHEMES]
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs") | {"ProblemOut": problem}
    components["schemas"] = dict(sorted(schemas.items()))
    components["responses"] = {f"problem-{status}": _problem(status) for status in sorted(used)}
    components["securitySchemes"] = SCHEMES
    return found


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemOut"}
    return {"description": PHRASES[status], "content": {MEDIA_TYPE: {"schema": schema}}}
