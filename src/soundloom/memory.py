"""How much memory this machine gives us, and a sentence before something is allocated that it cannot hold."""

from __future__ import annotations

import os
from pathlib import Path

from soundloom.errors import EngineError

_GIB = 2**30
_MEMINFO = Path("/proc/meminfo")
_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # v2, v1


def total_memory() -> int | None:
    """Bytes of memory in this machine, or in the container if that may have less. None where the system is silent."""
    try:
        machine = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        machine = []
    return min([*machine, *_container_limits()], default=None)


def free_memory() -> int | None:
    """Bytes that programs can still take, None where the system does not say."""
    total = total_memory()
    try:
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, LookupError):
        return total
    return free if total is None else min(free, total)


def _container_limits() -> list[int]:
    """What the container may take; empty where there is none, or it has no limit."""
    limits = []
    for place in _CONTAINER:
        try:
            limits.append(int(place.read_text(encoding="ascii")))
        except (OSError, ValueError):  # a limit of "max" is none
            continue
    return limits


def require_memory(needed: int, what: str) -> None:
    """Raise EngineError where `what` takes more bytes than there are, in use or not."""
    total = total_memory()
    if total is not None and needed > total:
        raise EngineError(
            f"{what} takes {needed / _GIB:.1f} GiB, and there are {total / _GIB:.1f} GiB of memory here",
            "take a smaller model, or check the sizes in its configuration",
        )
