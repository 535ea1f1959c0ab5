"""A short name for the contents of a checkpoint, without reading all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from soundloom.checkpoints.formats.tensors import LazyTensor

_EDGE = 4096  # bytes of each tensor's beginning and end that enter
_DIGITS = 16


def fingerprint(tensors: Iterable[LazyTensor]) -> str:
    """16 hexadecimal digits that change with any name, dtype, shape or the edges of any tensor, in any order."""
    digest = hashlib.sha256()
    parts = (part for tensor in tensors for part in tensor.parts)
    for tensor in sorted(parts, key=lambda tensor: tensor.name):
        data = tensor.data()
        digest.update(f"{tensor.name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(data[:_EDGE].tobytes())
        digest.update(data[-_EDGE:].tobytes())
    return digest.hexdigest()[:_DIGITS]
