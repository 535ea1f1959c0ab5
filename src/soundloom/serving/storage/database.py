"""One SQLite connection, owned by one thread.

SQLite before 3.51.3 can corrupt a database in WAL mode when two connections write and checkpoint at once, and Python
installations in use bring such versions. With one connection, the database is never locked either.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from soundloom.errors import SoundloomError, printable
from soundloom.serving.storage.migrations import migrate

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_Call = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]
PRAGMAS = ("journal_mode=WAL", "locking_mode=EXCLUSIVE", "synchronous=FULL", "foreign_keys=ON", "mmap_size=0")


class StorageError(SoundloomError):
    """The data folder of the server cannot be used."""


class DamagedError(StorageError):
    """A database cannot be read: it is damaged, or no database."""


class Database:
    """A database of the server; `run` calls functions with its connection, in order, in the thread that owns it."""

    def __init__(self, path: Path) -> None:
        """Open or create the database at `path` and bring it up to date. Raises DamagedError or StorageError."""
        self.path = path
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="soundloom-database", daemon=True)
        self._thread.start()
        try:
            self.run(self._prepare).result()
        except (sqlite3.Error, OSError) as error:
            self.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise DamagedError(f"{printable(path)} is damaged: {error}") from error
            raise StorageError(f"{printable(path)} cannot be opened: {error}", _hint(error)) from error
        except BaseException:
            self.close()
            raise

    def run(self, function: Callable[[sqlite3.Connection], Result]) -> Future[Result]:
        """Call `function` with the connection, in a transaction: all that it writes is stored, or nothing if it raises.

        Await the result with `asyncio.wrap_future`.
        """
        found: Future[Result] = Future()
        self._calls.put((function, found))
        return found

    def close(self) -> None:
        """Finish what was queued, checkpoint, and close the database."""
        self._calls.put(None)
        self._thread.join()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise DamagedError(f"{printable(self.path)} is damaged")
        migrate(connection, self.path)

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while (call := self._calls.get()) is not None:
            function, future = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if connection is None:
                    connection = _connect(self.path)
                future.set_result(_transaction(connection, function))
            except BaseException as error:
                future.set_exception(error)
        if connection is not None:
            _close(connection)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    connection.row_factory = sqlite3.Row
    try:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()  # or the file could not be renamed on Windows
        raise
    return connection


def _transaction(connection: sqlite3.Connection, function: Callable[[sqlite3.Connection], Result]) -> Result:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = function(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _close(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:  # the log is replayed when the database is opened next
        log.warning("the database could not be checkpointed: %s", error)
    connection.close()


def _hint(error: Exception) -> str:
    if "locked" in str(error):
        return "another server uses this data folder; stop it, or choose a folder with SOUNDLOOM_DATA"
    return ""
