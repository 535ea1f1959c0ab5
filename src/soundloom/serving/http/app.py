"""The application: its routes, its guard, and its life with the server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from soundloom.errors import SoundloomError
from soundloom.serving.dialects.mount import mount
from soundloom.serving.http import (
    contract,
    events,
    exports,
    jobs,
    kept,
    loras,
    measure,
    mixes,
    models,
    prompts,
    recipes,
    selections,
    system,
    takes,
    tickets,
    uploads,
)
from soundloom.serving.http.guard import Access, Guard
from soundloom.serving.http.problems import answer_error, answer_full, answer_http, answer_internal, answer_invalid
from soundloom.serving.http.studio import mount_studio
from soundloom.serving.metrics import Metrics, Timing
from soundloom.serving.server import Server
from soundloom.version import __version__


def create_app(server: Server, access: Access) -> FastAPI:
    """Return the application of a server; it starts and stops the server."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await server.start()
        try:
            yield
        finally:
            await server.stop()

    # The documentation pages of FastAPI load scripts from another host.
    app = FastAPI(title="soundloom", version=__version__, lifespan=life, docs_url=None, redoc_url=None)
    app.state.server, app.state.access = server, access
    app.state.measuring = asyncio.Lock()
    for routes in (
        jobs,
        events,
        selections,
        takes,
        mixes,
        tickets,
        exports,
        measure,
        recipes,
        uploads,
        models,
        loras,
        prompts,
        system,
        kept,
    ):
        app.include_router(routes.router)
    app.add_exception_handler(SoundloomError, answer_error)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(HTTPException, answer_http)
    for kind in (sqlite3.Error, OSError):
        app.add_exception_handler(kind, answer_full)
    app.add_exception_handler(Exception, answer_internal)
    app.state.tickets, app.state.exports = tickets.Tickets(), exports.Exports()
    app.state.metrics = Metrics(server)
    app.add_middleware(Guard, access=access, call=server.dispatcher.call)
    app.add_middleware(Timing, metrics=app.state.metrics)
    mount(app)
    mount_studio(app)
    app.openapi = partial(contract.openapi_of, app)  # type: ignore[method-assign]
    return app
