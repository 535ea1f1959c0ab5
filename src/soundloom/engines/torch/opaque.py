"""View bytes as oneDNN's opaque tensors, without a copy.

PyTorch offers this to compiled programs only: through the C interface of AOTInductor, called here with ctypes. It is
not public, so each view is checked, and other versions of PyTorch may lack it.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LIBRARY = "libtorch_cpu.so"


def opaque_bytes(tensor: Tensor) -> np.ndarray:
    """Return the bytes of an opaque tensor, uint8, without a copy; they are valid while it is."""
    address, size = torch.ops.mkldnn.data_ptr(tensor), torch.ops.mkldnn._nbytes(tensor)
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def opaque_layout(tensor: Tensor) -> bytes:
    """Return oneDNN's description of an opaque tensor's layout."""
    return bytes(torch.ops.mkldnn._get_mkldnn_serialized_md(tensor).tolist())


def view_opaque(data: np.ndarray, shape: list[int], dtype: torch.dtype, layout: bytes) -> Tensor:
    """View bytes as an opaque tensor with the layout from `opaque_layout`. Raises ValueError if that fails."""
    library = _library()
    if library is None:
        raise ValueError("this PyTorch cannot view bytes as opaque tensors")
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    strides = (ctypes.c_int64 * len(shape))(*torch.empty(shape, device="meta").stride())
    handle = ctypes.c_void_p()
    failed = library.aoti_torch_create_tensor_from_blob_v2(
        ctypes.c_void_p(data.ctypes.data), ctypes.c_int64(len(shape)), sizes, strides, ctypes.c_int64(0),
        _constant(f"dtype_{str(dtype).removeprefix('torch.')}"), _constant("device_type_cpu"), 0,
        ctypes.byref(handle), _constant("layout__mkldnn"), layout, ctypes.c_int64(len(layout)),
    )  # fmt: skip
    if failed or not handle:
        raise ValueError("oneDNN rejects the layout")
    tensor: Tensor = torch._C._aoti.alloc_tensor_by_stealing_from_void_ptr(_capsule(handle))
    tensor.viewed = data  # type: ignore[attr-defined]  # keeps the bytes alive as long as the tensor
    if torch.ops.mkldnn.data_ptr(tensor) != data.ctypes.data or torch.ops.mkldnn._nbytes(tensor) != data.nbytes:
        raise ValueError("the bytes do not fit the layout")
    return tensor


@cache
def has_opaque_views() -> bool:
    """Whether this PyTorch has the private functions that `view_opaque` and `opaque_bytes` need."""
    functions = ("_nbytes", "data_ptr", "_get_mkldnn_serialized_md")
    if _library() is None or not all(hasattr(torch.ops.mkldnn, name) for name in functions):
        return False
    return hasattr(getattr(torch._C, "_aoti", None), "alloc_tensor_by_stealing_from_void_ptr")


@cache
def _library() -> Any:
    """Return PyTorch's library, None where it is not found or lacks the function."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / _LIBRARY))
        library.aoti_torch_create_tensor_from_blob_v2  # noqa: B018  # raises where it is missing
        library.aoti_torch_layout__mkldnn  # noqa: B018
    except (OSError, AttributeError):
        return None
    return library


@cache
def _constant(name: str) -> int:
    return int(getattr(_library(), f"aoti_torch_{name}")())


def _capsule(handle: ctypes.c_void_p) -> Any:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(handle, None, None)
