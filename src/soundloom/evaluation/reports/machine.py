"""What a report says about the machine, the memory that was used, and the version of the code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

SECONDS = 5.0  # that git may take


def host() -> dict[str, str | int]:
    """Describe the class of machine, not the machine."""
    return {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count() or 0}


def peak_memory() -> dict[str, float]:
    """Return the most memory, in bytes, that this process had so far, and of a GPU if PyTorch used one."""
    found: dict[str, float] = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        found["peak_memory"] = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["peak_gpu_memory"] = float(torch.cuda.max_memory_allocated())
    return found


@cache
def commit() -> str:
    """Return the commit of the code if it runs from a checkout of its repository, else ""."""
    root = Path(__file__).resolve().parents[4]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
