"""Make calls over HTTP with httpx, which is imported when a client is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soundloom.client.address import is_local
from soundloom.client.protocol import CALL_SECONDS, Answer, Call, ConnectionLost
from soundloom.errors import RequestError
from soundloom.version import __version__

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0


def load_httpx() -> Any:
    """Return httpx. Raises RequestError if it is not installed."""
    try:
        import httpx
    except ImportError as error:
        raise RequestError(
            "the client of a server needs a package that is not installed: httpx", "pip install 'soundloom[serve]'"
        ) from error
    return httpx


class Transport:
    """What both ways to send calls have in common."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url, self.was_reached = url, False
        self._headers = {"User-Agent": f"soundloom/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def open(self, name: str) -> Any:
        """Return a client of httpx by the name of its class."""
        httpx = load_httpx()
        return getattr(httpx, name)(
            base_url=self.url,
            headers=self._headers,
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            trust_env=not is_local(self.url),  # a proxy does not know the servers of this machine
        )

    def arguments(self, call: Call) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.request`."""
        given: dict[str, Any] = {"method": call.method, "url": call.path, "headers": dict(call.headers)}
        if call.params:
            given["params"] = dict(call.params)
        if call.body is not None:
            given["json"] = call.body
        if call.file is not None:
            given["files"] = {"file": call.file}
        return given

    def answer(self, response: httpx.Response) -> Answer:
        self.was_reached = True
        return Answer(response.status_code, response.headers, response.content)

    def lost(self, error: Exception) -> ConnectionLost:
        """Return the loss of a connection. Raises any other error."""
        import httpx

        if not isinstance(error, httpx.TransportError):
            raise error
        return ConnectionLost(self.url, str(error) or type(error).__name__, self.was_reached)
