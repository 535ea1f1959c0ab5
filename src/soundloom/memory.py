"""Measure available memory, and reject allocations that cannot fit."""

from __future__ import annotations

import os
from pathlib import Path

from soundloom.errors import EngineError

_GIB = 2**30
_MEMINFO = Path("/proc/meminfo")
_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # v2, v1


def total_memory() -> int | None:
    """Return the bytes of memory of the machine, or of the container if it has less. None if unknown."""
    try:
        machine = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        machine = []
    return min([*machine, *_container_limits()], default=None)


def free_memory() -> int | None:
    """Return the bytes of memory available to programs. None if unknown."""
    total = total_memory()
    try:
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, LookupError):
        return total
    return free if total is None else min(free, total)


def _container_limits() -> list[int]:
    """Return the memory limits of the container, in bytes; empty without limits."""
    limits = []
    for place in _CONTAINER:
        try:
            limits.append(int(place.read_text(encoding="ascii")))
        except (OSError, ValueError):  # "max" means no limit
            continue
    return limits


def require_memory(needed: int, what: str) -> None:
    """Raise EngineError if `what` needs more bytes than the total memory."""
    total = total_memory()
    if total is not None and needed > total:
        raise EngineError(
            f"{what} needs {needed / _GIB:.1f} GiB of memory, this machine has {total / _GIB:.1f} GiB",
            "use a smaller model, or check the sizes in its configuration",
        )
