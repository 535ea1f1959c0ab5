"""Read the weights of a model one after the other, without keeping them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor, evict_tensor
from soundloom.lora.modules import matrix_shape


@contextmanager
def reading(weight: LazyTensor) -> Iterator[Array]:
    """Yield a weight as a matrix (out, in), float32; then drop its pages from memory."""
    yield np.asarray(weight.numpy(), np.float32).reshape(matrix_shape(weight.shape))
    evict_tensor(weight)
