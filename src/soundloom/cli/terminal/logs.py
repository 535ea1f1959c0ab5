"""What the library logs, shown on stderr while a command runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from soundloom.cli.terminal.streams import one_message

LOGGER = logging.getLogger("soundloom")


class _Escaped(logging.Formatter):
    """Messages may quote names from outside, which must not steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return one_message(super().format(record))


@contextmanager
def warnings_to_stderr() -> Iterator[None]:
    """Show warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaped("warning: %(message)s"))
    handler.setLevel(logging.WARNING)
    with _handled_by(handler):
        yield


@contextmanager
def info_to_stderr(*, quiet: bool) -> Iterator[None]:
    """Show what is logged beside warnings, which are shown anyway."""
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
    """Pass over what is logged below a level."""
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
