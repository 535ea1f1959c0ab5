"""Split and concatenate matrices by rows, for layouts that fuse several projections. Packed ones stay packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soundloom.checkpoints.formats.packed import PackedTensor, join_packed
from soundloom.checkpoints.formats.tensors import Array, LazyTensor
from soundloom.errors import MismatchError


def take_rows(tensor: LazyTensor, start: int, stop: int, name: str) -> LazyTensor:
    """Return rows [start, stop) under a new name; rows of a stored tensor remain views of the file."""
    if isinstance(tensor, PackedTensor):
        packed, scales, biases = (take_rows(part, start, stop, "") for part in tensor.parts)
        return join_packed(name, packed, scales, biases, tensor.bits, tensor.group_size)
    shape = (stop - start, *tensor.shape[1:])
    if not tensor.stored or not tensor.nbytes:
        return tensor.derive(shape, lambda array: array[start:stop], name)
    row = tensor.nbytes // tensor.shape[0]
    return replace(tensor, name=name, shape=shape, read=lambda: tensor.read()[start * row : stop * row])


def _row(tensor: LazyTensor) -> tuple[object, ...]:
    """Return what must be equal for tensors to concatenate by rows."""
    packing = (tensor.bits, tensor.group_size) if isinstance(tensor, PackedTensor) else ()
    return (tensor.shape[1:], *packing)


def join_rows(tensors: Sequence[LazyTensor], name: str) -> LazyTensor:
    """Concatenate matrices by rows, in the dtype of the first. Raises MismatchError for different shapes or packing."""
    first = tensors[0]
    if len({_row(tensor) for tensor in tensors}) != 1 or not first.shape:
        raise MismatchError(
            f"the parts of {name} do not match: {', '.join(str(list(t.shape)) for t in tensors[:3])}",
            "the file is damaged, or mixes different models",
        )
    if isinstance(first, PackedTensor):
        packed, scales, biases = (join_rows(part, "") for part in zip(*(t.parts for t in tensors), strict=True))
        return join_packed(name, packed, scales, biases, first.bits, first.group_size)

    def read() -> Array:
        return np.concatenate([each.cast(first.dtype).data() for each in tensors])

    return LazyTensor(name, first.dtype, (sum(each.shape[0] for each in tensors), *first.shape[1:]), read)
