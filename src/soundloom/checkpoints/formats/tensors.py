"""Lazy tensors of memory-mapped checkpoint files.

A stored tensor is a byte range of a mapped file. A derived tensor is a NumPy function of other tensors, for layouts
that store a weight transposed or folded. Dtype names are those of the safetensors format.
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

# NumPy has no BF16; its bytes are read as 16-bit integers.
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
FLOAT_DTYPES = {"F64", "F32", "F16", "BF16"}
_NAMES = {dtype: name for name, dtype in NUMPY_DTYPES.items() if name != "BF16"}


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """Return the safetensors name of a NumPy dtype; None for unsupported ones, such as big-endian."""
    return _NAMES.get(dtype)


@dataclass(frozen=True)
class LazyTensor:
    """A named tensor with dtype and shape.

    For a stored tensor, `read` returns its bytes as a one-dimensional uint8 array without a copy. For a derived one,
    it computes the final array.
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
        """The tensors that represent this one in a file: itself, unless it is packed."""
        return (self,)

    @property
    def is_raw(self) -> bool:
        """Whether `buffer` can be viewed in the tensor's dtype: stored, at an aligned address.

        Members of zip files start at any offset, so a stored tensor of an npz file may be unaligned.
        """
        if not self.stored:
            return False
        return self.nbytes == 0 or self.read().ctypes.data % NUMPY_DTYPES[self.dtype].itemsize == 0

    def buffer(self) -> Array:
        """Return the mapped bytes, uint8 `(nbytes,)`, without a copy. Writing to them never changes the file."""
        if not self.stored:
            raise ValueError(f"{self.name} is computed from other tensors; use numpy()")
        return self.read()

    def numpy(self) -> Array:
        """Return an array: a view of the file, except that BF16 becomes float32 and unaligned data is copied."""
        if not self.stored:
            return self.read()
        array = self.read().view(NUMPY_DTYPES[self.dtype]).reshape(self.shape)
        return bf16_to_float32(array) if self.dtype == "BF16" else np.require(array, requirements="A")

    def data(self) -> Array:
        """Return the bytes that represent this tensor in a file, uint8 `(nbytes,)`."""
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
        """Return a lazy tensor that applies `function` to this one's array."""
        return LazyTensor(name or self.name, self.dtype, shape, lambda: function(self.numpy()), stored=False)

    def cast(self, dtype: str) -> LazyTensor:
        """Return the same values in another floating-point dtype."""
        if dtype == self.dtype:
            return self
        return LazyTensor(self.name, dtype, self.shape, self.numpy, stored=False)


Tensors = dict[str, LazyTensor]  # by name


def is_float(tensor: LazyTensor) -> bool:
    """Whether a tensor holds floating-point numbers, as packed tensors do."""
    return tensor.dtype in FLOAT_DTYPES


def from_array(name: str, array: Array) -> LazyTensor:
    """Wrap an array in memory."""
    dtype = dtype_name(array.dtype)
    if dtype is None:
        raise ValueError(f"{name}: arrays of dtype {array.dtype} cannot be stored")
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return LazyTensor(name, dtype, array.shape, lambda: flat)


class MappedFile:
    """A file that is memory-mapped while any array of its bytes is alive.

    The mapping ends with the last array, so pages of a freed network leave resident memory. The file descriptor stays
    open, so a file that replaces this one under the same name is never read instead.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size
        self._mapped: Callable[[], Array | None] = lambda: None

    def read(self, begin: int, end: int) -> Array:
        """Return bytes [begin, end) as uint8 without a copy. Writing to them never changes the file."""
        mapped = self._mapped()
        if mapped is None:
            mapped = self._map()
            self._mapped = weakref.ref(mapped)
        return mapped[begin:end]

    def _map(self) -> Array:
        try:
            # Copy on write, because frameworks warn about buffers that are not writable.
            mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_COPY)
        except OSError:
            # The system may reject a private mapping larger than memory, but allow a shared one.
            mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8)


def evict(part: Array) -> None:
    """Release pages from `MappedFile.read` with madvise, once their contents are copied; later reads reload them."""
    mapping = part.base
    view = mapping.base if isinstance(mapping, np.ndarray) else None
    mapped = view.obj if isinstance(view, memoryview) else None
    if mapping is None or not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    offset = part.ctypes.data - mapping.ctypes.data
    begin, end = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE, (offset + part.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if begin < end:  # pages shared with other tensors stay
        mapped.madvise(mmap.MADV_DONTNEED, begin, end - begin)


def evict_tensor(tensor: LazyTensor) -> None:
    """Release the pages of all stored bytes of a tensor."""
    for part in tensor.parts:
        if part.is_raw and part.nbytes:
            evict(part.buffer())


def bf16_to_float32(bits: Array) -> Array:
    """Convert bfloat16, given as 16-bit integers, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(bits.shape)


def float32_to_bf16(values: Array) -> Array:
    """Round to bfloat16, ties to even, and return 16-bit integers. NaN stays NaN."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    result = np.empty(flat.shape, np.uint16)
    for start in range(0, flat.size, _CHUNK):  # in chunks, since temporary arrays take several times the input
        part = flat[start : start + _CHUNK]
        bits = part.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        result[start : start + _CHUNK] = np.where(np.isnan(part), 0x7FC0, rounded)
    return result.reshape(values.shape)
