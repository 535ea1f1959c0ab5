"""Export many takes as one zip file, which is made while it is sent."""

from __future__ import annotations

import asyncio
import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from soundloom.serving.http.contract import content, problems
from soundloom.serving.http.owners import owner_of, server_of
from soundloom.serving.http.schemas import TakeOut
from soundloom.serving.http.selections import Ids
from soundloom.serving.http.takes import FileFormat, Format, Subtype, convert, name_of, require_subtype
from soundloom.serving.http.tokens import new_secret
from soundloom.serving.jobs.settings import NotFoundError
from soundloom.serving.server import Server
from soundloom.serving.storage.rows import Take
from soundloom.serving.storage.takes import get_take

router = APIRouter(prefix="/v1/exports", tags=["library"])
KEPT_SECONDS = 600.0
MAX_EXPORTS = 20
BLOCK = 1 << 18
RECORDS = "takes.json"  # in the zip file


class ExportIn(FileFormat):
    """The takes, and the format of their files."""

    takes: Ids


class ExportOut(BaseModel):
    """An address below that of the server, until the time `expires`; `missing` takes have lost their files."""

    url: str
    name: str
    takes: int
    missing: int
    expires: float


@dataclass(frozen=True)
class Export:
    """What a zip file will hold; `owner` may fetch it."""

    takes: tuple[Take, ...]
    format: Format
    subtype: Subtype | None
    owner: str | None
    expires: float


@dataclass
class Exports:
    """The exports that were asked for, by their keys."""

    exports: dict[str, Export] = field(default_factory=dict)

    def add(self, export: Export) -> str:
        """Return the key of an export."""
        kept = [(key, one) for key, one in self.exports.items() if one.expires > time.time()]
        self.exports = dict(kept[-(MAX_EXPORTS - 1) :])
        key = new_secret()
        self.exports[key] = export
        return key


@router.post("", status_code=201, responses=problems(404))
async def export(body: ExportIn, request: Request) -> ExportOut:
    """Return an address where a browser can save takes as one zip file, with what is known about each."""
    require_subtype(body.format, body.subtype)
    server = server_of(request)
    owner = owner_of(request)
    found = await server.dispatcher.call(lambda c: [get_take(c, take) for take in dict.fromkeys(body.takes)])
    takes = [take for take in found if take is not None and owner in (None, take.client)]
    if len(takes) < len(found):
        raise NotFoundError("some of these takes are not in the library", "look at the library again")
    there = await asyncio.to_thread(
        lambda: tuple(one for one in takes if server.store.path(one.artifact.hash).is_file())
    )
    if not there:
        raise NotFoundError("the files of all these takes are missing", "restore them in the data folder of the server")
    made = Export(there, body.format, body.subtype, owner, time.time() + KEPT_SECONDS)
    exports: Exports = request.app.state.exports
    name = f"soundloom-{len(there)}-takes-{time.strftime('%Y-%m-%d')}.zip"
    url = f"/v1/exports/{exports.add(made)}/{quote(name)}"
    return ExportOut(url=url, name=name, takes=len(there), missing=len(takes) - len(there), expires=made.expires)


@router.get(
    "/{key}/{name}", response_class=StreamingResponse, responses=content("application/zip", text="The zip file")
)
async def fetch(key: str, name: str, request: Request) -> Response:
    """Return the zip file of an export. The name in the address is for programs that take it from there."""
    exports: Exports = request.app.state.exports
    found = exports.exports.get(key)
    if found is None or found.expires < time.time() or found.owner != owner_of(request):
        raise NotFoundError("this address is too old", "export the takes again")
    server = server_of(request)
    names = await server.dispatcher.call(lambda c: [name_of(c, server, take, found.format) for take in found.takes])
    files = list(zip(found.takes, unique_names(names), strict=True))
    disposition = f"attachment; filename*=UTF-8''{quote(name)}"
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return StreamingResponse(_zipped(server, files, found), media_type="application/zip", headers=headers)


def unique_names(names: list[str]) -> list[str]:
    """Return names with numbers where they would be the same, also on systems that know no upper case."""
    found: list[str] = []
    used = {RECORDS}
    for name in names:
        stem, _, suffix = name.rpartition(".")
        number, free = 1, name
        while free.casefold() in used:
            number += 1
            free = f"{stem} ({number}).{suffix}"
        used.add(free.casefold())
        found.append(free)
    return found


class _Sink:
    """A file that cannot go back: keeps what was written until it is taken."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> bytes:
        data, self.data = bytes(self.data), bytearray()
        return data


def _zipped(server: Server, files: list[tuple[Take, str]], export: Export) -> Iterator[bytes]:
    """Yield the bytes of the zip file; audio is hardly smaller when it is compressed."""
    sink, records = _Sink(), list[dict[str, Any]]()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for take, name in files:
            path = _file(server, take, export)
            if path is None:
                continue
            entry = zipfile.ZipInfo(
                name, time.localtime(max(take.made, 315_532_800))[:6]
            )  # zip knows no time before 1980
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while block := source.read(BLOCK):
                    target.write(block)
                    yield sink.take()
            records.append({**TakeOut.of(take).model_dump(), "file": name})
        archive.writestr(RECORDS, json.dumps(records, ensure_ascii=False, indent=1))
    yield sink.take()


def _file(server: Server, take: Take, export: Export) -> Path | None:
    """Return the file of a take in the format of the export; None if it is gone meanwhile."""
    path = server.store.path(take.artifact.hash)
    if not path.is_file():
        return None
    return convert(server, take.artifact, path, export.format, export.subtype)
