"""A process that was forked after a framework computed something: its threads are gone, and it would wait for them."""

from __future__ import annotations

import os

from soundloom.errors import EngineError

_computed = False
_is_forked = False


def require_threads() -> None:
    """Note that this process computes from now on. Raises EngineError where the threads stayed behind in a parent."""
    global _computed
    if _is_forked:
        raise EngineError(
            "this process was forked from one that had computed already, and the frameworks' threads stayed there",
            'start it with multiprocessing.get_context("spawn"), or fork before the first sound is made',
        )
    _computed = True


def _note_fork() -> None:
    global _is_forked
    _is_forked = _is_forked or _computed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
