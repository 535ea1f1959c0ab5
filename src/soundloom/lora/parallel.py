"""Run NumPy work on several layers at once, each in one thread.

Decompositions of the sizes of layers gain little from the threads of OpenBLAS, which spin while they wait and slow each
other down when other programs use the cores. One thread for each of several layers is several times faster.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from soundloom.cores import count_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_")
_lock = threading.Lock()
_users = 0
_before = 1


def map_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results of a function in the order of the items, which run on all usable cores, one thread each."""
    cores = count_cores()
    with one_blas_thread(), ThreadPoolExecutor(cores.usable if cores else 1) as pool:
        yield from pool.map(function, items)


def run_parallel(work: Iterable[Callable[[], None]]) -> None:
    """Call functions on all usable cores, one thread each."""
    for _ in map_parallel(lambda function: function(), work):
        pass


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let the OpenBLAS of NumPy's wheels compute in the thread that calls it; other libraries are not changed."""
    global _users, _before
    functions = _openblas()
    if functions is None:
        yield
        return
    get, set_to = functions
    with _lock:
        if _users == 0:
            _before = get()
            set_to(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                set_to(_before)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """Return the functions that get and set the number of threads, None where NumPy has another library."""
    folder = Path(np.__file__).parents[1] / "numpy.libs"
    for path in sorted(folder.glob("*openblas*")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for name in _NAMES:
            if hasattr(library, name.format("get")) and hasattr(library, name.format("set")):
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return None
