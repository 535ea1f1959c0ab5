"""Refuse requests that come from elsewhere than they should, before anything else sees them.

Browsers let any page send requests to this machine. A request is served if its Host is one of the server's names, its
Origin, if there is one, is the server itself, and it has a token or a cookie.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from soundloom.serving.http.problems import problem
from soundloom.serving.http.tokens import Tokens, secret_hash
from soundloom.serving.storage.events import find_session

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PUBLIC = ("/", "/health", "/login")  # paths that need no token
PUBLIC_FILES = "/studio/"
TICKETS = "/v1/tickets/"  # below it, the path itself is secret
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_BODY_BYTES = 2**28 + 2**20  # the largest upload, and the rest of its form
BROWSER = "browser"  # the owner of jobs that come with a cookie
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types soundloom"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Call = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Access:
    """Who may use the server. `hosts` are names with ports, such as "localhost:8157"; `origins` are other pages."""

    hosts: frozenset[str]
    tokens: Tokens
    cookie: str  # its name, which has the port: browsers send cookies to all ports of a host
    origins: frozenset[str] = frozenset()
    open_paths: tuple[str, ...] = ()  # prefixes that need no token: dialects of clients without one

    @classmethod
    def at(cls, port: int, tokens: Tokens, names: Iterable[str] = (), **options: Any) -> Access:
        """Return the access to a server on a port of this machine, and under further names."""
        local = {f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in LOCAL_NAMES}
        hosts = local | set(names)
        return cls(frozenset(host.lower() for host in hosts), tokens, f"soundloom-{port}", **options)


class Guard:
    """ASGI middleware that applies `Access`, and adds headers that restrict what a page may do."""

    def __init__(self, app: ASGIApp, access: Access, call: Call) -> None:
        """`call` runs a function with the database's connection."""
        self.app, self.access, self.call = app, access, call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._foreign(scope, headers) or _oversized(headers) or await self._unknown(scope, headers)
        received = 0

        async def receive_within_limit() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(413, _too_large_text())
            return message

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in known)]
            await send(message)

        await (refused or self.app)(scope, receive_within_limit, send_with_headers)

    def _foreign(self, scope: Scope, headers: Headers) -> Response | None:
        """Return a refusal of requests to another host, or from another page."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.access.hosts:
            return problem(421, "foreign-host", "this server has another name", "--allow-host NAME:PORT adds a name")
        origin = headers.get("origin")
        own = {f"{scheme}://{host}" for scheme in ("http", "https") for host in self.access.hosts}
        is_foreign = origin is not None and origin.lower() not in own | self.access.origins
        if is_foreign and scope["method"] not in SAFE_METHODS:
            return problem(403, "foreign-origin", "the request comes from another page", "--allow-origin adds a page")
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        is_visit = scope["method"] == "GET" and mode == "navigate" and headers.get("sec-fetch-dest") == "document"
        if site == "cross-site" and not is_visit and (origin or "").lower() not in self.access.origins:
            return problem(403, "foreign-origin", "the request comes from another site", "open the page itself")
        return None

    async def _unknown(self, scope: Scope, headers: Headers) -> Response | None:
        """Return a refusal of clients without a token, and store the name of the others."""
        path, address = scope["path"], (scope.get("client") or ("", 0))[0]
        state = scope.setdefault("state", {})
        state["client"], state["user"] = address, None
        if path in PUBLIC or path.startswith((PUBLIC_FILES, TICKETS, *self.access.open_paths)):
            return None
        token, cookie = _token(headers), _cookie(headers, self.access.cookie)
        owner = self.access.tokens.owner(token) if token else None
        if owner is None and cookie:
            owner = await self._session(cookie)
        if owner is None:
            if (token or cookie) and not self.access.tokens.may_try(address):
                return too_many_attempts()
            if token or cookie:
                self.access.tokens.count_failure(address)
            hint = "send Authorization: Bearer TOKEN, or open the link that `soundloom serve` prints"
            detail = "the token is not one of this server" if token else "this server needs a token"
            return problem(401, "no-token", detail, hint, {"WWW-Authenticate": "Bearer"})
        state["client"], state["user"] = owner, owner if owner in self.access.tokens.users else None
        return None

    async def _session(self, cookie: str) -> str | None:
        """Return the owner of a cookie; a user who is no longer known has none."""
        found = await self.call(lambda connection: find_session(connection, secret_hash(cookie), "cookie"))
        if found is None or found[0] not in (None, *self.access.tokens.users):
            return None
        return found[0] or BROWSER


def too_many_attempts() -> Response:
    """Return a refusal of an address that guesses. The right token still works: guessing 128 bits takes for ever."""
    detail = "too many wrong tokens came from this address"
    return problem(429, "too-many-attempts", detail, "wait a minute", {"Retry-After": "60"})


def _too_large_text() -> str:
    return f"the request has more than {MAX_BODY_BYTES >> 20} MiB"


def _oversized(headers: Headers) -> Response | None:
    """Return a refusal of bodies that are too large, by what their header says."""
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) <= MAX_BODY_BYTES:
        return None
    return problem(413, "too-large", _too_large_text(), "send a shorter file")


def _token(headers: Headers) -> str:
    """Return the token of a request; "" if it has none.

    As the password of Basic authentication it works for clients that have no setting but an address.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    if scheme.lower() == "basic":
        with suppress(ValueError):  # also of base64 and of text
            return base64.b64decode(token, validate=True).decode().partition(":")[2]
    return headers.get("x-api-key") or headers.get("xi-api-key") or ""


def _cookie(headers: Headers, name: str) -> str:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""
