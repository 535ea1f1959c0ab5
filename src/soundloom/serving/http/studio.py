"""The studio: the page in the browser, files that need no token; what they show needs one."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "studio"
CHECKED = {"Cache-Control": "no-cache"}  # browsers ask each time whether the file is the same: an update works at once


class Files(StaticFiles):
    """Files of the studio, with an ETag."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(CHECKED)
        return response


def mount_studio(app: FastAPI) -> None:
    """Serve the studio at / and its files below /studio."""
    app.mount("/studio", Files(directory=FOLDER))

    async def index(request: Request) -> Response:
        return FileResponse(FOLDER / "index.html", media_type="text/html", headers=CHECKED)

    app.add_route("/", index, include_in_schema=False)
