"""Which sizes an array may claim: checked before anything is built from the claim."""

from __future__ import annotations

import math
from typing import Any

_MOST_AXES = 8
_LARGEST = (1 << 63) - 1  # of a size, or of all bytes of an array


def are_sizes(values: Any) -> bool:
    """Whether values are a list or tuple of few integers, none of them negative or beyond 63 bits."""
    return (
        isinstance(values, list | tuple)
        and len(values) <= _MOST_AXES
        and all(type(size) is int and 0 <= size <= _LARGEST for size in values)
    )


def is_shape(shape: Any, itemsize: int) -> bool:
    """Whether values are the shape of an array whose bytes can be counted."""
    # Of empty arrays too, since NumPy multiplies the sizes that are not 0.
    return are_sizes(shape) and math.prod(size for size in shape if size) * itemsize <= _LARGEST
