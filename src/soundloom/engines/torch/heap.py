"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Let all that is not used leave the process; glibc would keep what lies between blocks that stay."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries do without
        if trim is not None:
            trim(0)
