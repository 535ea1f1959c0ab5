"""The application of `--compat gary`: it shares the server, and has its own port, since its /health is another one."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from soundloom.errors import SoundloomError
from soundloom.serving.dialects.errors import DialectErrors, Problem, add_error_handlers, sentence
from soundloom.serving.dialects.gary import jobs, state
from soundloom.serving.dialects.gary.sessions import Sessions
from soundloom.serving.http.guard import Access, Guard
from soundloom.serving.http.problems import answer_error, answer_http, answer_invalid
from soundloom.serving.http.tokens import Tokens
from soundloom.serving.server import Server


def create_gary_app(server: Server, port: int) -> FastAPI:
    """Return the application; the native one starts and stops the server."""
    app = FastAPI(title="gary by soundloom", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.server, app.state.sessions = server, Sessions(server)
    app.include_router(state.router)
    app.include_router(jobs.router)
    app.add_exception_handler(SoundloomError, answer_error)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(HTTPException, answer_http)
    add_error_handlers(app)
    access = Access.at(port, Tokens(), open_paths=("/",))
    app.add_middleware(Guard, access=access, call=server.dispatcher.call)
    app.add_middleware(DialectErrors, rewrites={"/": rewrite})
    return app


def rewrite(found: Problem) -> tuple[int, dict[str, object]]:
    """Return an error as gary's clients read it."""
    status = 400 if found["status"] in (415, 422) else found["status"]
    errors = [f"{one['field']}: {one['message']}" for one in found.get("errors", ())]
    content = {"success": False, "error": "; ".join(errors) or sentence(found)}
    return status, content | ({"errors": errors} if len(errors) > 1 else {})


class ByPort:
    """ASGI application that passes requests to one of two, by the port of this machine that they came to."""

    def __init__(self, app: ASGIApp, other: ASGIApp, port: int) -> None:
        """`other` gets the requests to `port`; the start and the stop are those of `app`."""
        self.app, self.other, self.port = app, other, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_other = scope["type"] == "http" and (scope.get("server") or ("", 0))[1] == self.port
        await (self.other if is_other else self.app)(scope, receive, send)
