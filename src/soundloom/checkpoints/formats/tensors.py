"""One tensor of a checkpoint, read only when somebody asks for it.

A stored tensor is a range of bytes in a memory-mapped file. A derived tensor is a NumPy function of other tensors,
for layouts that keep a weight transposed or folded. Dtype names are those of the safetensors format.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK = 1 << 22  # values

# BF16 has no NumPy type; its bytes are handled as 16-bit integers.
NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in NUMPY_DTYPES.items() if name != "BF16"}


FLOAT_DTYPES = {"F64", "F32", "F16", "BF16"}


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """The safetensors name of a NumPy dtype, None for objects, big-endian numbers and the like."""
    return _NAMES.get(dtype)


@dataclass(frozen=True)
class LazyTensor:
    """A named tensor of known dtype and shape.

    `read` gives a stored tensor's bytes as a one-dimensional uint8 array without copying, or a derived tensor's
    (`stored` false) finished array.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]
    stored: bool = True

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * NUMPY_DTYPES[self.dtype].itemsize

    @property
    def parts(self) -> tuple[LazyTensor, ...]:
        """The tensors of a file that it stands for: itself, unless it is packed."""
        return (self,)

    @property
    def is_raw(self) -> bool:
        """Whether `buffer` may be used as it is: bytes of the tensor's own, at an address fit for their dtype.

        Members of zip files start anywhere, so a tensor of an npz file can be stored and yet not raw.
        """
        if not self.stored:
            return False
        return self.nbytes == 0 or self.read().ctypes.data % NUMPY_DTYPES[self.dtype].itemsize == 0

    def buffer(self) -> Array:
        """The mapped bytes, uint8 `(nbytes,)`, without a copy. Writing to them never changes the file."""
        if not self.stored:
            raise ValueError(f"{self.name} is computed from other tensors; use numpy()")
        return self.read()

    def numpy(self) -> Array:
        """The tensor as an array: a view of the file, but BF16 is widened to float32 and odd addresses are copied."""
        if not self.stored:
            return self.read()
        array = self.read().view(NUMPY_DTYPES[self.dtype]).reshape(self.shape)
        return bf16_to_float32(array) if self.dtype == "BF16" else np.require(array, requirements="A")

    def data(self) -> Array:
        """The bytes that a file would hold for this tensor, uint8 `(nbytes,)`; computed for a derived one."""
        if self.stored:
            return self.read()
        array = self.read()
        if self.dtype == "BF16":
            array = float32_to_bf16(array)
        array = np.ascontiguousarray(array, NUMPY_DTYPES[self.dtype])
        return array.reshape(-1).view(np.uint8)

    def renamed(self, name: str) -> LazyTensor:
        return replace(self, name=name)

    def derive(self, shape: tuple[int, ...], function: Callable[[Array], Array], name: str | None = None) -> LazyTensor:
        """A tensor that is `function` of this one's array."""
        return LazyTensor(name or self.name, self.dtype, shape, lambda: function(self.numpy()), stored=False)

    def cast(self, dtype: str) -> LazyTensor:
        """The same values in another floating dtype."""
        if dtype == self.dtype:
            return self
        return LazyTensor(self.name, dtype, self.shape, self.numpy, stored=False)


Tensors = dict[str, LazyTensor]  # by name


def is_float(tensor: LazyTensor) -> bool:
    """Whether a tensor holds floating-point numbers; a packed one is of those of its scales."""
    return tensor.dtype in FLOAT_DTYPES


def from_array(name: str, array: Array) -> LazyTensor:
    """A tensor that lives in memory."""
    dtype = dtype_name(array.dtype)
    if dtype is None:
        raise ValueError(f"{name}: arrays of type {array.dtype} cannot be stored")
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return LazyTensor(name, dtype, array.shape, lambda: flat)


class MappedFile:
    """The bytes of a file, which cost memory once they are touched and as long as an array of them lives.

    Between the life of one network and the next the mapping ends, so the pages of a freed one do not pile up in the
    process's resident memory. The file stays open meanwhile: another that takes its name is never mixed with it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size
        self._mapped: Callable[[], Array | None] = lambda: None

    def read(self, begin: int, end: int) -> Array:
        """Bytes [begin, end) as uint8, without a copy. Writing to them never changes the file."""
        mapped = self._mapped()
        if mapped is None:
            mapped = self._map()
            self._mapped = weakref.ref(mapped)
        return mapped[begin:end]

    def _map(self) -> Array:
        try:
            # Copy on write: frameworks complain about buffers that are not writable; the file stays untouched.
            mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_COPY)
        except OSError:
            # A private mapping larger than all memory may be refused where a shared one is not.
            mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8)


def evict(part: Array) -> None:
    """Let bytes that `MappedFile.read` gave leave memory, once they are copied; touched again, they are read again."""
    whole = part.base
    view = whole.base if isinstance(whole, np.ndarray) else None
    mapped = view.obj if isinstance(view, memoryview) else None
    if whole is None or not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    offset = part.ctypes.data - whole.ctypes.data
    begin, end = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE, (offset + part.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if begin < end:  # pages that other tensors share stay
        mapped.madvise(mmap.MADV_DONTNEED, begin, end - begin)


def evict_tensor(tensor: LazyTensor) -> None:
    """The same for all bytes of a tensor that lie in a file."""
    for part in tensor.parts:
        if part.is_raw and part.nbytes:
            evict(part.buffer())


def bf16_to_float32(bits: Array) -> Array:
    """Widen bfloat16, given as 16-bit integers; exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(bits.shape)


def float32_to_bf16(values: Array) -> Array:
    """Round to bfloat16, ties to even, as 16-bit integers; NaN stays NaN."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    result = np.empty(flat.shape, np.uint16)
    for start in range(0, flat.size, _CHUNK):  # in parts, since the working copies are several times the input
        part = flat[start : start + _CHUNK]
        bits = part.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        result[start : start + _CHUNK] = np.where(np.isnan(part), 0x7FC0, rounded)
    return result.reshape(values.shape)
