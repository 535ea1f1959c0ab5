"""What a file of tensors may claim: limits far beyond every real model, checked before anything is built from a claim.

Names come from outside and are quoted in messages everywhere, so one that holds control characters is refused here.
Messages say what is wrong with a file that their readers name before.
"""

from __future__ import annotations

from typing import Any

MOST_TENSORS = 1 << 15  # of a file; published ones have a few thousand
_LONGEST_NAME = 512  # characters


def check_count(count: int) -> None:
    """Raise ValueError for more tensors than any model has."""
    if count > MOST_TENSORS:
        raise ValueError(f"it names {count} tensors, more than the {MOST_TENSORS} that are read")


def check_name(name: Any) -> None:
    """Raise ValueError for what cannot be the name of a tensor or of a member of an archive."""
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"it has a tensor whose name is not printable text of 1 to {_LONGEST_NAME} characters")
