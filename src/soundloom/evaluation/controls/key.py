"""Compare a key with the one that was asked for, by the points of the MIREX evaluation of key detection."""

from __future__ import annotations

import re

from soundloom.errors import RequestError, shown
from soundloom.evaluation.selection import FIFTH, NOTES, PARALLEL, RELATIVE

MODES = ("major", "minor")
KEY = re.compile(r"([A-G])(#|♯|b|♭|)\s*(major|minor|maj|min|m|)", re.IGNORECASE)
SHIFT = {"#": 1, "♯": 1, "b": -1, "♭": -1, "": 0}


def key_index(name: str) -> int:
    """Return 0 to 11 for C major to B major, 12 to 23 for C minor to B minor. Raises RequestError for other text."""
    match = KEY.fullmatch(name.strip())
    if match is None:
        raise RequestError(f"{shown(name)!r} is not a key", "write it like F# minor or Bb major")
    note, accidental, mode = match.groups()
    is_minor = mode == "m" or mode.lower() in ("minor", "min")
    return (NOTES.index(note.upper()) + SHIFT[accidental.lower()]) % 12 + 12 * is_minor


def key_name(index: int) -> str:
    """Return the name of a key by its `key_index`."""
    return f"{NOTES[index % 12]} {MODES[index // 12]}"


def key_points(asked: str, found: str | None, *, fifth_below: bool = False) -> float:
    """Return 1 for the key, 0.5 for a fifth above it, 0.3 for its relative, 0.2 for its parallel key, else 0.

    Without a key the score is 0. MIREX writes "perfect fifth", and its code and mir_eval count the one above;
    `fifth_below` counts both. Raises RequestError for text that is no key.
    """
    wanted = key_index(asked)
    if found is None:
        return 0.0
    other = key_index(found)
    up = (other - wanted) % 12
    if wanted // 12 == other // 12:
        return {0: 1.0, 7: FIFTH, 5: FIFTH * fifth_below}.get(up, 0.0)
    return {(3 if wanted >= 12 else 9): RELATIVE, 0: PARALLEL}.get(up, 0.0)
