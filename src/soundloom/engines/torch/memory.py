"""Return freed memory to the operating system, and find the size of the processor's cache."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

DEFAULT_CACHE = 16 << 20


def malloc_trim() -> None:
    """Release freed heap memory, which glibc otherwise keeps between live blocks.

    Networks have no reference cycles, so no garbage collection is needed first; it would take 40 ms.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)


@cache
def last_level_cache() -> int:
    """Return the bytes of the processor's last-level cache, 16 MiB if unknown."""
    for name in ("SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE"):
        try:
            size = os.sysconf(name)
        except (AttributeError, ValueError, OSError):
            continue
        if size > 0:
            return size
    return DEFAULT_CACHE
