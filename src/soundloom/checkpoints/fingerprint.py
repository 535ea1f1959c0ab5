"""Compute a short hash that identifies a checkpoint without reading it completely."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from soundloom.checkpoints.formats.tensors import LazyTensor

_EDGE = 4096  # bytes hashed at both ends of each tensor
_DIGITS = 16


def fingerprint(tensors: Iterable[LazyTensor]) -> str:
    """Return 16 hexadecimal digits over names, dtypes, shapes and both ends of all tensors, in any order."""
    digest = hashlib.sha256()
    parts = (part for tensor in tensors for part in tensor.parts)
    for tensor in sorted(parts, key=lambda tensor: tensor.name):
        data = tensor.data()
        digest.update(f"{tensor.name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(data[:_EDGE].tobytes())
        digest.update(data[-_EDGE:].tobytes())
    return digest.hexdigest()[:_DIGITS]
