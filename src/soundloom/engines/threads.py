"""The CPU threads of PyTorch: one per usable core, which sleep soon when they wait.

By default OpenMP's threads spin for milliseconds before they sleep. On cores that other programs use too, they spend
their share of time on it, and a clip takes many times as long. `benchmarks/neighbors.py` compares the settings.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

from soundloom.cores import count_cores
from soundloom.errors import RequestError

log = logging.getLogger(__name__)

# A user who set any of these has decided. GOMP_ is GNU's runtime (Linux), KMP_ is LLVM's and Intel's (macOS, Windows).
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
COUNT_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# On an idle machine, spin for about 100 microseconds: less is slower there, more is slower once another program runs.
# The shortest time that KMP_BLOCKTIME can state, except none, is a millisecond.
SHORT_WAITS = {"GOMP_SPINCOUNT": "4000", "KMP_BLOCKTIME": "1"}
NO_WAITS = {"OMP_WAIT_POLICY": "PASSIVE"}  # fastest while other programs run
MAX_THREADS = 1024

_LOADAVG = Path("/proc/loadavg")
_LOOKS, _LOOK_SECONDS = 5, 0.001

_origin = "chosen outside soundloom"


def shorten_waits() -> None:
    """Make OpenMP's threads sleep soon, unless the user has chosen; call it before PyTorch loads their runtime.

    Child processes inherit the variables.
    """
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ.update(NO_WAITS if _others_run() else SHORT_WAITS)


def _others_run() -> bool:
    """Return whether other threads of the machine run or wait for a processor, at each of several looks; on Linux."""
    for _ in range(_LOOKS):
        try:
            runnable = int(_LOADAVG.read_text(encoding="ascii").split()[3].partition("/")[0])
        except (OSError, ValueError, LookupError):
            return False
        if runnable <= 1:  # this thread
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def import_torch() -> ModuleType:
    """Import PyTorch with threads that leave room for other programs; change nothing if it was imported before."""
    global _origin
    if "torch" in sys.modules:
        return import_module("torch")
    shorten_waits()
    torch = import_module("torch")
    if given := next((name for name in COUNT_VARIABLES if name in os.environ), None):
        _origin = given
        return torch
    cores, _origin = count_cores(), "one per usable core"
    # Only fewer than PyTorch's own choice, which knows OMP_THREAD_LIMIT and the fast cores of Apple silicon.
    if cores is not None and cores.usable < torch.get_num_threads():
        torch.set_num_threads(cores.usable)
    return torch


def check_threads(count: int) -> None:
    """Raise RequestError for a number of threads that is out of range."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_THREADS:
        raise RequestError(f"threads must be an integer between 1 and {MAX_THREADS}, found {count!r}")


def set_threads(engine: str, count: int) -> None:
    """Set the CPU threads of this process, and warn that the MLX engine has no such setting."""
    global _origin
    if engine == "mlx":
        log.warning("the number of threads has no effect with the MLX engine, which has no such setting")
        return
    import_torch().set_num_threads(count)
    _origin = "as requested"


def describe_threads() -> str:
    """Return the number of PyTorch's threads, who chose it, and the wait policy, for people to read."""
    policy = next((f"{name}={os.environ[name]}" for name in WAIT_VARIABLES if name in os.environ), "no wait policy")
    return f"{import_torch().get_num_threads()}, {_origin}; {policy}"
