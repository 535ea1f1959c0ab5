"""Return freed memory to the operating system, and find the size of the processor's cache."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

DEFAULT_CACHE = 16 << 20
TRIM_THRESHOLD = 256 << 20  # bytes of free memory at the end of the heap, above the activations of a minute of audio
MAX_MMAP_THRESHOLD = 32 << 20  # the largest that glibc accepts
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # in malloc.h


def malloc_trim() -> None:
    """Release freed heap memory, which glibc otherwise keeps between live blocks.

    Networks have no reference cycles, so no garbage collection is needed first; it would take 40 ms.
    """
    _call_glibc("malloc_trim", 0)


@cache
def reuse_freed_memory() -> None:
    """Let glibc keep freed memory for later allocations, until `malloc_trim`.

    By default it returns large tensors to the system at once. The next tensor then gets new pages, which the kernel
    clears: up to a tenth of the time of a forward pass. A user who has set thresholds in the environment has decided.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    _call_glibc("mallopt", _M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD)
    _call_glibc("mallopt", _M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def _call_glibc(name: str, *arguments: int) -> None:
    if sys.platform == "linux":
        function = getattr(ctypes.CDLL(None), name, None)  # other C libraries lack it
        if function is not None:
            function(*arguments)


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
