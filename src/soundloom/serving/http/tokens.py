"""Secrets of clients: a token for programs, one-time links, and the cookies that browsers get for them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from soundloom.serving.storage.events import add_session, end_session, find_session

LINK_SECONDS, COOKIE_SECONDS = 600.0, 30 * 86_400.0
MAX_ATTEMPTS, ATTEMPT_SECONDS = 10, 60.0  # wrong secrets of one address


def new_secret() -> str:
    """Return a random secret of 256 bits."""
    return secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def open_link(connection: sqlite3.Connection) -> str:
    """Return the secret of a new link that works once."""
    secret = new_secret()
    add_session(connection, secret_hash(secret), "link", LINK_SECONDS)
    return secret


def exchange_link(connection: sqlite3.Connection, secret: str) -> str | None:
    """Exchange the secret of a link for that of a cookie; None if the link is unknown, used or too old."""
    hash = secret_hash(secret)
    if find_session(connection, hash, "link") is None:
        return None
    end_session(connection, hash)
    return open_cookie(connection, None)


def open_cookie(connection: sqlite3.Connection, user: str | None) -> str:
    """Return the secret of a new cookie, for a user or for whoever runs the server."""
    cookie = new_secret()
    add_session(connection, secret_hash(cookie), "cookie", COOKIE_SECONDS, user)
    return cookie


@dataclass
class Tokens:
    """The tokens that clients may use, by the name of their owner; only their hashes are kept.

    `users` are the owners who see only their own jobs and takes.
    """

    hashes: dict[str, str] = field(default_factory=dict)  # name: sha256
    users: frozenset[str] = frozenset()
    _failures: dict[str, deque[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, main: Mapping[str, str], users: Mapping[str, str] = MappingProxyType({})) -> Tokens:
        return cls({name: secret_hash(token) for name, token in {**users, **main}.items()}, frozenset(users))

    def owner(self, token: str) -> str | None:
        """Return whose token this is, in time that does not depend on it."""
        given, found = secret_hash(token), None
        for name, hash in self.hashes.items():
            if hmac.compare_digest(hash, given):
                found = name
        return found

    def may_try(self, address: str) -> bool:
        """Whether an address has not given too many wrong secrets lately."""
        now, failures = time.monotonic(), self._failures.get(address, deque())
        while failures and now - failures[0] > ATTEMPT_SECONDS:
            failures.popleft()
        return len(failures) < MAX_ATTEMPTS

    def count_failure(self, address: str) -> None:
        if len(self._failures) > 10_000:  # addresses cost nothing to forge on a network
            self._failures.clear()
        self._failures.setdefault(address, deque()).append(time.monotonic())
