"""Limit the number and names of tensors in untrusted files, far above those of real models.

Names with control characters are rejected, since messages quote names. The messages here continue a sentence in which
the caller names the file.
"""

from __future__ import annotations

from typing import Any

MAX_TENSORS = 1 << 15  # in one file; published files have a few thousand
_MAX_NAME = 512  # characters


def check_count(count: int) -> None:
    """Raise ValueError if a file has too many tensors."""
    if count > MAX_TENSORS:
        raise ValueError(f"it names {count} tensors, more than the limit of {MAX_TENSORS}")


def check_name(name: Any) -> None:
    """Raise ValueError if `name` is not valid for a tensor or archive member."""
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise ValueError(f"it has a tensor whose name is not printable text of 1 to {_MAX_NAME} characters")
