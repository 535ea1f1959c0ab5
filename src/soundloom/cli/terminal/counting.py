"""Show on stderr how many clips are done: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from soundloom.cli.terminal.streams import escaped

SECONDS = 10.0  # between lines where stderr is no terminal


def counter(what: str, quiet: bool = False) -> Callable[[int, int], None]:
    """Return a function that is called with the clips done and their number."""
    shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        if quiet:
            return
        line = f"{what}: {done} of {total}"
        if sys.stderr.isatty():
            sys.stderr.write(escaped(f"\r{line}" + ("\n" if done == total else "")))
            sys.stderr.flush()
        elif time.monotonic() - shown > SECONDS:
            shown = time.monotonic()
            sys.stderr.write(escaped(f"{line}\n"))

    return show
