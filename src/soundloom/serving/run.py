"""Run the server until it is stopped."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from soundloom.atomic import atomic_path
from soundloom.errors import ModelNotFoundError, RequestError
from soundloom.serving.dialects.gary.app import ByPort, create_gary_app
from soundloom.serving.http.app import create_app
from soundloom.serving.http.guard import Access
from soundloom.serving.http.tokens import Tokens, open_link
from soundloom.serving.jobs.resolve import KnownModel, require_installed
from soundloom.serving.server import Server, ServerSettings
from soundloom.serving.users import read_users

log = logging.getLogger(__name__)
GRACE_SECONDS = 2  # for open streams, before a stop closes them
TOKEN_FILE = "token"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Where the server listens; `names` are further names with ports that it answers to."""

    host: str = LOOPBACK
    port: int = 8157
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    users: Path | None = None  # a file with a line "NAME TOKEN" for each further user
    gary: int | None = None  # the port of gary's interface, which has no token and is for this machine only

    @property
    def is_local(self) -> bool:
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return self.host == "localhost"


def serve(settings: ServerSettings, address: Address, token: str | None, show: Callable[[str, str, str], None]) -> None:
    """Serve until a signal. `show` gets the address, a link that logs a browser in once, and the address for gary.

    Without a token, the one of the data folder is used, which is made on the first start. Raises RequestError,
    StorageError or WriteError.
    """
    if not address.is_local and token is None:
        raise RequestError(
            f"--host {address.host} can be reached from other machines, so the server needs a token of yours",
            "set SOUNDLOOM_TOKEN, or leave out --host",
        )
    if token is not None and len(token) < 16:
        raise RequestError("SOUNDLOOM_TOKEN has fewer than 16 characters", "choose a longer one")
    users = {} if address.users is None else read_users(address.users)
    for model in (settings.model, *settings.allowed, *settings.aliases.values()):
        KnownModel.open(model, settings.sources, settings.allowed)  # or an error before anything is served
    try:
        require_installed(settings.model, settings.sources)
    except ModelNotFoundError as error:
        pull = f"soundloom models pull {settings.model}"
        log.warning("%s, so jobs that name no model fail until you run `%s`", error.args[0], pull)
    listening = _listen(address)
    port = listening.getsockname()[1]
    if address.gary == port:
        raise RequestError(f"port {port} was asked for twice", "give --port or --compat gary:PORT another one")
    sockets = [listening, *(() if address.gary is None else [_listen(Address(LOOPBACK, address.gary))])]
    server = Server(settings)
    tokens = Tokens.of({"token": token or stored_token(settings.data)}, users)
    access = Access.at(port, tokens, address.names, origins=frozenset(address.origins))
    name = f"[{address.host}]" if ":" in address.host else address.host
    url = f"http://{name}:{port}"
    link = server.database.run(open_link).result()
    app: ASGIApp = create_app(server, access)
    gary_url = ""
    for extra in sockets[1:]:
        gary_port = extra.getsockname()[1]
        app, gary_url = ByPort(app, create_gary_app(server, gary_port), gary_port), f"http://{LOOPBACK}:{gary_port}"
    show(url, f"{url}/login?link={link}", gary_url)
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        _Web(config, server).run(sockets)
    finally:
        for one in sockets:
            one.close()


class _Web(uvicorn.Server):
    """A web server that tells its application of a stop first: uvicorn waits for open connections."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._served = server

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._served.begin_stop()
        await super().shutdown(sockets)


def stored_token(folder: Path) -> str:
    """Return the token of a data folder, which programs of the same user may read; make one if there is none."""
    path = folder / TOKEN_FILE
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    token = secrets.token_urlsafe(32)
    with atomic_path(path, overwrite=False) as new:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        new.chmod(0o600)
    return token


def _listen(address: Address) -> socket.socket:
    """Return a listening socket. Raises RequestError if the address is taken or does not exist."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        # asyncio turns off Nagle's algorithm only for sockets that name their protocol; with it, answers take 40 ms
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        if os.name != "nt":  # where this option would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen()  # whoever reads the address may connect at once, and is answered after the start
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(
            f"the server cannot listen on {address.host}, port {address.port}: {reason}",
            "another server may run there; choose a port with --port, 0 for any free one",
        ) from error
    listening.set_inheritable(False)
    return listening
