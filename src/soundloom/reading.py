"""Read files from outside, of which no more than a limit ever gets into memory."""

from __future__ import annotations

from pathlib import Path


def read_limited(path: Path, longest: int) -> bytes:
    """The bytes of a file. Raises OSError, and ValueError where there are more than `longest`."""
    with path.open("rb") as file:
        data = file.read(longest + 1)  # its size may change, and is 0 for some that hold more
    if len(data) > longest:
        raise ValueError(f"it has more than the {longest} bytes that are read")
    return data
