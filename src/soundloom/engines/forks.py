"""Reject computation in a process forked after a framework started threads: the child would wait for them forever."""

from __future__ import annotations

import os

from soundloom.errors import EngineError

_computed = False
_is_forked = False


def require_threads() -> None:
    """Record that this process computes. Raises EngineError in a process forked after its parent computed."""
    global _computed
    if _is_forked:
        raise EngineError(
            "this process was forked from one that had already computed, whose threads it lacks",
            'start it with multiprocessing.get_context("spawn"), or fork before the first clip is generated',
        )
    _computed = True


def _note_fork() -> None:
    global _is_forked
    _is_forked = _is_forked or _computed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
