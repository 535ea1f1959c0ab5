"""Names that clients give, made harmless on every system."""

from __future__ import annotations

import unicodedata

MAX_NAME = 120  # characters
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{kind}{n}" for kind in ("COM", "LPT") for n in range(1, 10))}


def display_name(name: str) -> str:
    """Return the name of a file for display: no folders or control characters, at most 120 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in '<>:"|?*')
    kept = kept.strip()[:MAX_NAME].strip()
    if kept.startswith(".") or kept.partition(".")[0].strip().upper() in _RESERVED:
        kept = f"_{kept}"[:MAX_NAME]
    return kept or "upload"
