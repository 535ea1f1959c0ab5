"""Errors as JSON, the same in answers, in jobs and in events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from soundloom.errors import OutputError, SoundloomError

INTERNAL = "internal-error"
NOT_SAVED = "the clip was not saved; try another seed or prompt, or weaker guidance"  # a server has no --keep-bad


def problem_of(error: BaseException) -> dict[str, Any]:
    """Return the type, message and hint of an error; those that are no SoundloomError are faults of the server."""
    if isinstance(error, SoundloomError):
        hint = NOT_SAVED if isinstance(error, OutputError) else error.hint
        return {"type": problem_type(type(error)), "message": str(error.args[0]), "hint": hint}
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return {"type": INTERNAL, "message": message, "hint": ""}


def without_folder(found: dict[str, Any], folder: str | Path) -> dict[str, Any]:
    """Return a problem that does not tell where the server has its files."""
    return {**found, "message": found["message"].replace(str(folder), "the data folder of the server")}


def problem_type(kind: type[BaseException]) -> str:
    """Return the name of a class of errors, such as "request-error"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()
