"""A client of the soundloom server that needs the standard library only.

Address and token come from the environment of ComfyUI and never from a workflow: a workflow of somebody else could send
the token to another address, and a shared workflow would contain it.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

DEFAULT_URL = "http://127.0.0.1:8157"
ATTEMPTS, FIRST_PAUSE = 6, 0.25  # of a call whose connection is lost, and seconds before the second
CALL_SECONDS, LIST_SECONDS = 60.0, 2.0  # without any answer; the second for lists that menus show
KEPT_SECONDS = 15.0  # ComfyUI asks for menus many times in a row
POLL_SECONDS = 0.5
BLOCK = 1 << 20


class ServerError(Exception):
    """The server refuses a request, or cannot be reached; the text says why and what helps."""


def server_url() -> str:
    """Return the address of the server: SOUNDLOOM_URL, or the default port of this machine."""
    return (os.environ.get("SOUNDLOOM_URL") or DEFAULT_URL).rstrip("/")


def find_token(url: str) -> str | None:
    """Return SOUNDLOOM_TOKEN, or for a server on this machine the token in its data folder."""
    if token := os.environ.get("SOUNDLOOM_TOKEN"):
        return token.strip()
    if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
        with suppress(OSError, UnicodeDecodeError):
            return (_data_folder() / "library" / "token").read_text(encoding="utf-8").strip()
    return None


def _data_folder() -> Path:
    if chosen := os.environ.get("SOUNDLOOM_DATA"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "soundloom"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/soundloom"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "soundloom"


class Server:
    """A soundloom server."""

    _lists: dict[tuple[str, str], tuple[float, list[str]]] = {}  # noqa: RUF012 (shared on purpose)

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.url = url or server_url()
        self.token = token or find_token(self.url)
        self._parts = urlsplit(self.url)
        self._was_reached = False  # if so, it may be restarting, and goes on with its jobs
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise ServerError(f"SOUNDLOOM_URL is {self.url!r}, which is not an address such as {DEFAULT_URL}")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = CALL_SECONDS,
        attempts: int = ATTEMPTS,
    ) -> bytes:
        """Send a request that may be repeated, and return the content of the answer. Raises ServerError."""
        pause = FIRST_PAUSE
        for attempt in range(1, attempts + 1):
            try:
                status, content = self._send(method, path, body, headers or {}, seconds)
            except (OSError, http.client.HTTPException) as error:
                if attempt == attempts or (isinstance(error, ConnectionRefusedError) and not self._was_reached):
                    raise ServerError(
                        f"the soundloom server at {self.url} does not answer ({error}). Start it with `soundloom "
                        "serve`, or set SOUNDLOOM_URL before ComfyUI starts."
                    ) from error
                time.sleep(pause)
                pause *= 2
            else:
                self._was_reached = True
                if status < 300:
                    return content
                raise ServerError(_reason(status, content))
        raise AssertionError("unreachable")

    def json(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send and receive JSON. Raises ServerError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return json.loads(self.ask(method, path, data, headers, **options))

    def names(self, path: str, key: str, name: str) -> list[str]:
        """Return names for a menu, which may be some seconds old; none if the server cannot be reached."""
        made, found = self._lists.get((self.url, path), (-KEPT_SECONDS, []))
        if time.monotonic() - made < KEPT_SECONDS:
            return found
        found = []
        with suppress(ServerError, ValueError, LookupError, TypeError):
            found = [str(one[name]) for one in self.json("GET", path, seconds=LIST_SECONDS, attempts=1)[key]]
        self._lists[self.url, path] = (time.monotonic(), found)
        return found

    def upload(self, data: bytes, name: str) -> dict[str, Any]:
        """Store an audio file on the server; return its `id`, its length, and its `record`. Raises ServerError."""
        boundary = uuid.uuid4().hex
        shown = "".join(c for c in name if c.isprintable() and c not in '"\\')
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{shown}"\r\n'
        body = b"".join([head.encode(), b"\r\n", data, f"\r\n--{boundary}--\r\n".encode()])
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return json.loads(self.ask("POST", "/v1/uploads", body, headers))

    def audio(self, clip: Mapping[str, Any], **options: str) -> bytes:
        """Return the file of a take or an upload. Raises ServerError."""
        folder = "takes" if clip["is_take"] else "uploads"
        return self.ask("GET", f"/v1/{folder}/{clip['id']}/audio?{urlencode(options)}")

    def run(self, body: Mapping[str, Any], watch: Callable[[float], None]) -> list[dict[str, Any]]:
        """Run a job and return its takes; `watch` gets the finished fraction, and cancels the job if it raises.

        Raises ServerError if the job fails or is canceled by somebody else.
        """
        job = self.json("POST", "/v1/jobs", body, headers={"Idempotency-Key": uuid.uuid4().hex})
        path = f"/v1/jobs/{job['id']}"
        try:
            fraction = 0.0
            while job["state"] not in ("succeeded", "failed", "canceled"):
                job = self.json("GET", f"{path}?wait={POLL_SECONDS}")
                fraction = max(fraction, float((job["progress"] or {}).get("fraction") or 0.0))  # none at the end
                watch(1.0 if job["state"] == "succeeded" else fraction)
        except BaseException:
            with suppress(ServerError):
                self.json("POST", f"{path}/cancel", attempts=1)
            raise
        if job["state"] != "succeeded":
            errors = (item["error"] for item in job["items"] if item["error"])
            reason = f"the job was {job['state']}: {job['reason'] or 'no reason'}"
            raise ServerError(_sentence(next(errors, {})) or reason)
        return [self.json("GET", f"/v1/takes/{item['take']}") for item in job["items"]]

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes]:
        is_secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=seconds)
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            connection.request(method, self._parts.path + path, body, {**token, **headers})
            answer = connection.getresponse()
            content = b"".join(iter(lambda: answer.read(BLOCK), b""))
            return answer.status, content
        finally:
            connection.close()


def _reason(status: int, content: bytes) -> str:
    """Return why the server refuses a request, in a sentence."""
    if status == 401:
        return (
            "the soundloom server refuses the token. Set SOUNDLOOM_TOKEN, before ComfyUI starts, to the token in "
            "`library/token` of the server's data folder."
        )
    with suppress(ValueError):
        problem = json.loads(content)
        if isinstance(problem, dict) and (text := _sentence(problem)):
            return text
    return f"the server answered {status}; is another program at this address?"


def _sentence(problem: Mapping[str, Any]) -> str:
    message = str(problem.get("message") or problem.get("detail") or "")
    return f"{message} ({hint})" if message and (hint := problem.get("hint")) else message
