"""Check sizes that untrusted files claim before memory is allocated for them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

_MAX_NDIM = 8
_MAX_BYTES = (1 << 63) - 1  # of one axis, or of all bytes of an array


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a file. Raises OSError, and ValueError if there are more than `max_bytes`."""
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)  # the size in the file system may change, and is 0 for special files
    if len(data) > max_bytes:
        raise ValueError(f"it has more than the limit of {max_bytes} bytes")
    return data


def are_sizes(values: Any) -> bool:
    """Whether `values` is a list or tuple of at most eight integers from 0 to 2^63 - 1."""
    return (
        isinstance(values, list | tuple)
        and len(values) <= _MAX_NDIM
        and all(type(size) is int and 0 <= size <= _MAX_BYTES for size in values)
    )


def is_shape(shape: Any, itemsize: int) -> bool:
    """Whether `shape` is valid for an array whose size in bytes fits 63 bits."""
    # Zeros are skipped because NumPy multiplies the other sizes of empty arrays too.
    return are_sizes(shape) and math.prod(size for size in shape if size) * itemsize <= _MAX_BYTES
