"""Read and write npz files: zip archives with one npy file per array.

Uncompressed members, the usual case, are memory-mapped. Files with pickled objects are rejected.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.lib import format as npy

from soundloom.atomic import atomic_file
from soundloom.checkpoints.formats.tensors import NUMPY_DTYPES, Array, LazyTensor, dtype_name
from soundloom.checkpoints.formats.zip import ZipArchive
from soundloom.errors import FETCH_AGAIN, CorruptFileError, shown
from soundloom.untrusted.npy import NpyHeader, read_npy_header

_LOCAL_HEADER = 30  # bytes of a zip member's header, without its name and extra field
_ALIGNMENT = 64
# A private extra field of the zip format: padding that moves a member's data to an aligned offset.
_PADDING_FIELD = 0x534C


def read_npz(path: Path) -> dict[str, LazyTensor]:
    """Return all arrays of an npz file by name. Raises CorruptFileError, also for pickled objects."""
    try:
        archive = ZipArchive(path)
        tensors = [_read_member(path, archive, name) for name in archive.members]
    except ValueError as error:
        _fail(path, f"is not a complete npz archive: {error}")
    return {tensor.name: tensor for tensor in tensors}


def _read_member(path: Path, archive: ZipArchive, member: str) -> LazyTensor:
    if not member.endswith(".npy"):
        _fail(path, f"holds '{shown(member)}', which is not an npy array")
    name = member.removesuffix(".npy")
    if archive.is_stored(member):
        read = partial(archive.file.read, *archive.span(member))
    else:
        read = partial(np.asarray, archive.read(member))
    data = read()
    try:
        header = read_npy_header(data)
    except ValueError as error:
        _fail(path, f"holds array '{shown(name)}', which {error}")
    return _tensor(path, name, header, len(data), read)


def _tensor(path: Path, name: str, header: NpyHeader, size: int, read: Callable[[], Array]) -> LazyTensor:
    dtype, shape, start = header.dtype, header.shape, header.start
    if dtype.hasobject:
        _fail(path, f"holds pickled Python objects as '{shown(name)}', which could run code and are never loaded")
    known = dtype_name(dtype)
    if known is None:
        _fail(path, f"holds array '{shown(name)}' of type {dtype}; supported: {', '.join(NUMPY_DTYPES)}")
    if size - start != header.nbytes:
        _fail(path, f"gives array '{shown(name)}' {size - start} bytes, not {header.nbytes} for {dtype} {list(shape)}")
    if not header.fortran_order:
        return LazyTensor(name, known, shape, lambda: read()[start:])
    reversed_ = LazyTensor(name, known, shape[::-1], lambda: read()[start:])
    return reversed_.derive(shape, np.transpose)


def _fail(path: Path, what: str) -> NoReturn:
    raise CorruptFileError(f"{path} {what}", FETCH_AGAIN)


def write_npz(path: Path, tensors: Iterable[LazyTensor]) -> None:
    """Write arrays in the given order at aligned offsets, with one in memory at a time. npy has no BF16."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for tensor in tensors:
            if tensor.dtype == "BF16":
                raise ValueError(f"{tensor.name}: npz files cannot hold BF16; cast it first")
            header = _npy_header(tensor)
            member = zipfile.ZipInfo(tensor.name + ".npy")
            member.file_size = len(header) + tensor.nbytes
            member.extra = _padding(file.tell() + _LOCAL_HEADER + len(member.filename.encode()))
            with archive.open(member, "w") as stream:
                stream.write(header)
                stream.write(tensor.data().data)


def _npy_header(tensor: LazyTensor) -> bytes:
    """Return the npy header, padded to a multiple of 64 bytes."""
    stream = io.BytesIO()
    description: dict[str, Any] = {
        "descr": npy.dtype_to_descr(NUMPY_DTYPES[tensor.dtype]),
        "fortran_order": False,
        "shape": tensor.shape,
    }
    npy.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _padding(offset: int) -> bytes:
    """Return an extra field that moves data from `offset` to the next multiple of 64."""
    length = -(offset + 4) % _ALIGNMENT
    return _PADDING_FIELD.to_bytes(2, "little") + length.to_bytes(2, "little") + bytes(length)
