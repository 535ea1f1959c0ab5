"""The address of a server, and the token that it asks for."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from soundloom.errors import RequestError, shown
from soundloom.folders import data_folder

DEFAULT_URL = "http://127.0.0.1:8157"
TOKEN_FILE = "library/token"  # in the data folder


def server_url(url: str) -> str:
    """Return the address of a server without a slash at its end; http is the default. Raises RequestError."""
    text = url.strip() if isinstance(url, str) else ""
    full = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(full)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_valid = False
    if not is_valid or not full.isprintable() or " " in full or parts.query or parts.fragment or parts.username:
        raise RequestError(f"{shown(url)!r} is not the address of a server", f"for example {DEFAULT_URL}")
    return full.rstrip("/")


def is_local(url: str) -> bool:
    """Whether a server runs on this machine."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def find_token(url: str, token: str | None) -> str | None:
    """Return the given token, else SOUNDLOOM_TOKEN, else for a server on this machine that of the data folder."""
    found = token or os.environ.get("SOUNDLOOM_TOKEN")
    if not found and is_local(url):
        with suppress(OSError, UnicodeDecodeError):
            found = (data_folder() / TOKEN_FILE).read_text(encoding="utf-8")
    found = found.strip() if found else None
    if found and not (found.isascii() and found.isprintable()):
        raise RequestError("a token has ASCII characters only", "copy it again from `library/token` of the server")
    return found or None
