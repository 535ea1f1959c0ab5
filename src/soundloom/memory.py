"""How much memory this machine has, and a sentence before something is allocated that it cannot hold."""

from __future__ import annotations

import os

from soundloom.errors import EngineError

_GIB = 2**30


def total_memory() -> int | None:
    """Bytes of memory in this machine, None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def require_memory(needed: int, what: str) -> None:
    """Raise EngineError where `what` takes more bytes than the whole machine has."""
    total = total_memory()
    if total is not None and needed > total:
        raise EngineError(
            f"{what} takes {needed / _GIB:.1f} GiB, and this machine has {total / _GIB:.1f} GiB of memory",
            "take a smaller model, or check the sizes in its configuration",
        )
