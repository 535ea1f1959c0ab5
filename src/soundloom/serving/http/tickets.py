"""Hand takes over to other programs: one-use addresses for dragging them out, and the file manager of this machine."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from soundloom.serving.http.contract import problems
from soundloom.serving.http.files import AUDIO, MEDIA_TYPES, AudioFile
from soundloom.serving.http.guard import LOCAL_NAMES, Access
from soundloom.serving.http.owners import own_take, require_all, server_of
from soundloom.serving.http.problems import problem
from soundloom.serving.http.system import is_loopback
from soundloom.serving.http.takes import FileFormat, audio_file, download_name, file_in_format
from soundloom.serving.http.tokens import new_secret, secret_hash
from soundloom.serving.jobs.settings import NotAllowedError, NotFoundError

router = APIRouter(prefix="/v1", tags=["library"])
TICKET_SECONDS = 60.0
MAX_TICKETS = 1000
GONE = "this address was used, or is too old", "ask for a new one"


class TicketOut(BaseModel):
    """An address below that of the server; without a token it works once, until the time `expires`."""

    url: str
    name: str
    media_type: str
    expires: float


@dataclass(frozen=True)
class Ticket:
    """A file that somebody may fetch once."""

    path: Path
    name: str
    media_type: str
    expires: float


@dataclass
class Tickets:
    """The tickets that have not been used, by the hashes of their secrets; the newest ones, if there are too many."""

    tickets: dict[str, Ticket] = field(default_factory=dict)

    def add(self, ticket: Ticket) -> str:
        """Return the secret of a new ticket."""
        now, secret = time.time(), new_secret()
        kept = [(key, one) for key, one in self.tickets.items() if one.expires > now]
        self.tickets = dict(kept[-(MAX_TICKETS - 1) :])
        self.tickets[secret_hash(secret)] = ticket
        return secret

    def use(self, secret: str) -> Ticket | None:
        """Return a ticket, which is gone then; None if it is unknown or too old."""
        found = self.tickets.pop(secret_hash(secret), None)
        return found if found is not None and found.expires > time.time() else None


@router.post("/takes/{take}/ticket", status_code=201, responses=problems(507))
async def ticket(take: str, request: Request, body: FileFormat | None = None) -> TicketOut:
    """Return an address of the audio that needs no token, works once and for a minute: for dragging a take out."""
    body, found = body or FileFormat(), await own_take(request, take)
    server = server_of(request)
    stored = await audio_file(server, found)
    path = await file_in_format(server, found.artifact, stored, body.format, body.subtype)
    name = await download_name(server, found, body.format)
    made = Ticket(path, name, MEDIA_TYPES[body.format], time.time() + TICKET_SECONDS)
    tickets: Tickets = request.app.state.tickets
    url = f"/v1/tickets/{tickets.add(made)}/{quote(name)}"
    return TicketOut(url=url, name=name, media_type=made.media_type, expires=made.expires)


@router.get("/tickets/{key}/{name}", response_class=AudioFile, responses={**AUDIO, **problems(429)})
async def use_ticket(key: str, name: str, request: Request) -> Response:
    """Return the file of a ticket. The name in the address is for programs that take it from there."""
    access: Access = request.app.state.access
    tickets: Tickets = request.app.state.tickets
    address = request.client.host if request.client else ""
    found = tickets.use(key)
    if found is None and not access.tokens.may_try(address):
        return problem(429, "too-many-attempts", "too many wrong addresses", "wait a minute", {"Retry-After": "60"})
    if found is None:
        access.tokens.count_failure(address)
        raise NotFoundError(*GONE)
    if not await asyncio.to_thread(found.path.is_file):
        raise NotFoundError("the audio file is missing", "restore it in the data folder of the server")
    headers = {"Cache-Control": "no-store"}
    return AudioFile(found.path, media_type=found.media_type, headers=headers, filename=found.name)


@router.post("/takes/{take}/show", status_code=204, responses=problems(501))
async def show(take: str, request: Request) -> Response:
    """Show the file of a take in the file manager; only for whoever runs the server, on the same machine."""
    require_all(request)
    if not is_loopback(request) or (request.url.hostname or "") not in LOCAL_NAMES:
        raise NotAllowedError("files are shown on the machine of the server only", "download the file")
    found, folder = await own_take(request, take), server_of(request).settings.output
    if folder is None:
        raise NotFoundError("the server has no output folder", "start it without --output none")
    path = folder / found.file if found.file else None
    if path is None or not await asyncio.to_thread(path.is_file):
        raise NotFoundError(f"take {take} has no file in the output folder", "download it")
    command = show_command(path)
    if shutil.which(command[0]) is None:
        return problem(501, "no-file-manager", f"{command[0]} is not installed", "open the output folder yourself")
    await asyncio.to_thread(_start, command)
    return Response(status_code=204)


def show_command(path: Path, platform: str = sys.platform) -> list[str]:
    """Return the command that shows a file, or its folder, in the file manager."""
    if platform == "darwin":
        return ["open", "-R", str(path)]
    return ["explorer", f"/select,{path}"] if platform == "win32" else ["xdg-open", str(path.parent)]


def _start(command: list[str]) -> None:
    """Start a program that lives on without the server."""
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    threading.Thread(target=process.wait, daemon=True).start()  # or it would stay as a zombie
