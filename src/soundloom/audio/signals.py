"""Hold back signals while a library calls Python, which could not raise there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def held_signals() -> Iterator[None]:
    """Hold back signals that stop the program, such as Ctrl-C, to the end of the block.

    A C library that calls back drops the exceptions of the callback: the signal would be lost.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
        yield
        return
    handlers = {number: handler for number in STOPS if callable(handler := signal.getsignal(number))}
    arrived: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in arrived[:1]:
            signal.raise_signal(number)
