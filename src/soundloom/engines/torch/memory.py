"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
import sys


def malloc_trim() -> None:
    """Let what was freed leave the process; glibc would keep what lies between blocks that stay.

    Networks hold no cycles, so their last name frees them: a search for cycles would take 40 ms each time.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries do without
        if trim is not None:
            trim(0)
