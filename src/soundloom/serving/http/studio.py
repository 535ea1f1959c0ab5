"""The studio: the page in the browser, files that need no token; what they show needs one."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).resolve().parents[1] / "studio"
IMPORT = re.compile(r'^import\b[^;"]*"(\.[^"]+)";', re.M)  # not import(), which loads when it is called
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
    page = with_preloads((FOLDER / "index.html").read_text(encoding="utf-8"))

    async def index(request: Request) -> Response:
        return HTMLResponse(page, headers=CHECKED)

    app.add_route("/", index, include_in_schema=False)


def with_preloads(page: str) -> str:
    """Name all modules in the page that its first screen needs, so that a browser loads them at the same time."""
    links = (f'<link rel="modulepreload" href="/studio/{path.relative_to(FOLDER).as_posix()}">' for path in modules())
    return page.replace("</head>", "\n".join((*links, "</head>")))


def modules(main: Path = FOLDER / "js" / "main.js") -> list[Path]:
    """Return what a module imports, and what those import; not what is imported when it is used."""
    found, waiting = [main], [main]
    while waiting:
        path = waiting.pop()
        for name in IMPORT.findall(path.read_text(encoding="utf-8")):
            other = (path.parent / name).resolve()
            if other not in found:
                found.append(other)
                waiting.append(other)
    return found
