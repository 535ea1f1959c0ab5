"""Convert stored tensors to PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor

from soundloom.checkpoints.formats.tensors import LazyTensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U32": torch.uint32,
    "U8": torch.uint8,
}


def to_tensor(lazy: LazyTensor) -> Tensor:
    """View a stored tensor's bytes; only derived tensors are copied."""
    if lazy.is_raw and lazy.nbytes:
        return torch.frombuffer(lazy.buffer(), dtype=DTYPES[lazy.dtype]).view(lazy.shape)
    return torch.from_numpy(lazy.numpy().copy())
