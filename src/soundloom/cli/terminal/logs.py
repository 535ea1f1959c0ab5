"""Print log messages of the library to stderr while a command runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from soundloom.cli.terminal.streams import one_message

LOGGER = logging.getLogger("soundloom")


class _Escaped(logging.Formatter):
    """Escape control characters, which names in messages may contain."""

    def format(self, record: logging.LogRecord) -> str:
        return one_message(super().format(record))


@contextmanager
def warnings_to_stderr() -> Iterator[None]:
    """Print warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaped("warning: %(message)s"))
    handler.setLevel(logging.WARNING)
    with _handled_by(handler):
        yield


@contextmanager
def info_to_stderr(*, quiet: bool) -> Iterator[None]:
    """Print info messages too, unless `quiet`."""
    if quiet:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaped("%(message)s"))
    handler.addFilter(lambda record: record.levelno < logging.WARNING)
    with _handled_by(handler), at_level(logging.INFO):
        yield


@contextmanager
def at_level(level: int) -> Iterator[None]:
    """Set the level of the library's logger."""
    before = LOGGER.level
    LOGGER.setLevel(level)
    try:
        yield
    finally:
        LOGGER.setLevel(before)


@contextmanager
def _handled_by(handler: logging.Handler) -> Iterator[None]:
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
