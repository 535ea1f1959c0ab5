"""Matrices cut and joined by rows, for layouts that keep several projections in one; packed ones stay packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soundloom.checkpoints.packed import PackedTensor, join
from soundloom.checkpoints.tensors import Array, LazyTensor


def take_rows(tensor: LazyTensor, start: int, stop: int, name: str) -> LazyTensor:
    """Rows [start, stop) under a name; of a stored tensor the file's own bytes."""
    if isinstance(tensor, PackedTensor):
        words, scales, biases = (take_rows(part, start, stop, "") for part in tensor.parts)
        return join(name, words, scales, biases, tensor.bits, tensor.group)
    shape = (stop - start, *tensor.shape[1:])
    if not tensor.stored:
        return tensor.derive(shape, lambda array: array[start:stop], name)
    row = tensor.nbytes // tensor.shape[0]
    return replace(tensor, name=name, shape=shape, read=lambda: tensor.read()[start * row : stop * row])


def join_rows(tensors: Sequence[LazyTensor], name: str) -> LazyTensor:
    """One matrix of the rows of several, in the dtype of the first. Packed ones must have one sort of codes."""
    first = tensors[0]
    if isinstance(first, PackedTensor):
        words, scales, biases = (join_rows(part, "") for part in zip(*(t.parts for t in tensors), strict=True))
        return join(name, words, scales, biases, first.bits, first.group)

    def read() -> Array:
        return np.concatenate([each.cast(first.dtype).data() for each in tensors])

    return LazyTensor(name, first.dtype, (sum(each.shape[0] for each in tensors), *first.shape[1:]), read)
