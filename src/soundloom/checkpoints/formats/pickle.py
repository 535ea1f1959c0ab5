"""Read tensors from `torch.save` files without PyTorch and without executing code from the file.

Such a file is a zip archive: the pickle `data.pkl` describes the objects, and each storage is a member that is mapped
here. A pickle may name any function; only those that rebuild tensors and dictionaries are allowed, each implemented
in this module. Sizes, strides and offsets are checked against the storage when a tensor is rebuilt, and nothing can
change them afterwards: see `unpickler`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from soundloom.checkpoints.formats.limits import check_count, check_name
from soundloom.checkpoints.formats.tensors import NUMPY_DTYPES, Array, LazyTensor, Tensors
from soundloom.checkpoints.formats.unpickler import AllowedFunction, Unpickler, describe, pairs_of
from soundloom.checkpoints.formats.zip import ZipArchive
from soundloom.errors import FETCH_AGAIN, CorruptFileError, MismatchError
from soundloom.untrusted.limits import are_sizes, is_shape

_TENSOR_ARGUMENTS = 4
_MAX_PICKLE_BYTES = 1 << 25  # bytes of data.pkl; real ones have a few million

# Dtypes of PyTorch's storage classes.
_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "UntypedStorage": "U8",
}


@dataclass(frozen=True)
class _StorageType:
    """A storage class of PyTorch, identified by its dtype."""

    dtype: str


@dataclass(frozen=True)
class _Storage:
    """`count` values in a file; `read` returns their bytes."""

    dtype: str
    count: int
    read: Callable[[], Array]


def _rebuild_tensor(arguments: tuple[Any, ...]) -> LazyTensor:
    """Rebuild a tensor as a view of a storage; contiguous ones are the storage's own bytes."""
    if len(arguments) < _TENSOR_ARGUMENTS:
        raise ValueError("it builds a tensor without storage, offset, shape and strides")
    storage, offset, shape, strides = arguments[:_TENSOR_ARGUMENTS]
    if not isinstance(storage, _Storage):
        raise ValueError("it builds a tensor from an object that is not a storage")
    width = NUMPY_DTYPES[storage.dtype].itemsize
    if not (is_shape(shape, width) and are_sizes(strides) and are_sizes([offset])) or len(shape) != len(strides):
        raise ValueError("it builds a tensor with an invalid offset, shape or strides")
    shape, count = tuple(shape), math.prod(shape)
    reach = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if count else 0
    if count > storage.count or reach >= max(storage.count, 1):
        raise ValueError(f"a tensor exceeds its storage of {storage.count} values")
    begin, end = offset * width, (offset + count) * width
    if count == 0:
        return LazyTensor("", storage.dtype, shape, lambda: storage.read()[:0])
    if all(
        n == 1 or step == math.prod(shape[axis + 1 :])
        for axis, (n, step) in enumerate(zip(shape, strides, strict=True))
    ):
        return LazyTensor("", storage.dtype, shape, lambda: storage.read()[begin:end])
    # The stride of an axis with one value is meaningless, and may overflow.
    steps = tuple(step * width if n > 1 else 0 for n, step in zip(shape, strides, strict=True))

    def view() -> Array:
        values = storage.read()[begin:].view(NUMPY_DTYPES[storage.dtype])
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values, shape, steps)).reshape(-1).view(np.uint8)

    return LazyTensor("", storage.dtype, shape, view)


def _rebuild_parameter(arguments: tuple[Any, ...]) -> Any:
    return arguments[0] if arguments else None


def _make_dictionary(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else []
    if type(pairs) is not list or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("it builds a dictionary from something other than pairs")
    return pairs_of([item for pair in pairs for item in pair])


def _make_size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    sizes = arguments[0] if arguments else ()
    if type(sizes) not in (list, tuple):
        raise ValueError("it builds a size from something other than numbers")
    return tuple(sizes)


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): AllowedFunction(_make_dictionary),
    ("torch", "Size"): AllowedFunction(_make_size),
    ("torch._utils", "_rebuild_tensor"): AllowedFunction(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): AllowedFunction(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): AllowedFunction(_rebuild_parameter),
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()},
    ("torch.storage", "UntypedStorage"): _StorageType("U8"),
}


def read_pickle(path: Path, check: Callable[[str], None] | None = None) -> Any:
    """Return the object in a `torch.save` file; its tensors are lazy and unnamed. Raises CorruptFileError.

    Objects of classes that are not known become `UnknownObject`. `check` is called with the name of every class and
    function that the file uses, such as `collections.OrderedDict`, and may raise ValueError.
    """
    try:
        archive = ZipArchive(path)
    except ValueError as error:
        _fail(path, f"is not a zip archive as torch.save writes since PyTorch 1.6: {error}")
    root = next((name[: -len("data.pkl")] for name in archive.members if name.endswith("/data.pkl")), None)
    if root is None:
        _fail(path, "is a zip archive, but not from torch.save")
    try:
        if f"{root}byteorder" in archive.members and archive.read(f"{root}byteorder").tobytes() != b"little":
            _fail(path, "was written on a machine with another byte order")
        size = archive.members[f"{root}data.pkl"].file_size
        if size > _MAX_PICKLE_BYTES:
            raise ValueError(f"it has {size} bytes, more than the limit of {_MAX_PICKLE_BYTES}")
        storage = partial(_map_storage, archive, f"{root}data/")
        return Unpickler(archive.read(f"{root}data.pkl").tobytes(), _NAMES, storage, check).load()
    except ValueError as error:
        _fail(path, f"holds a pickle that cannot be read: {error}")


def _map_storage(archive: ZipArchive, folder: str, reference: Any) -> _Storage:
    if type(reference) is not tuple or len(reference) != 5 or not isinstance(reference[1], _StorageType):
        raise ValueError("it refers to something other than a storage")
    _, kind, key, _, count = reference
    name = f"{folder}{key}" if type(key) is str else ""
    if name not in archive.members or not archive.is_stored(name):
        raise ValueError(f"there is no readable storage {describe(key)}")
    width = NUMPY_DTYPES[kind.dtype].itemsize
    begin, end = archive.span(name)
    if not is_shape([count], width) or count * width > end - begin:
        raise ValueError(f"storage {describe(key)} has {end - begin} bytes, too few for {describe(count)} values")
    return _Storage(kind.dtype, count, partial(archive.file.read, begin, begin + count * width))


def tensors_of(data: Any, what: str) -> Tensors:
    """Return the tensors of a state dict by name; skip other values. Raises MismatchError if there are none."""
    items = data.items() if isinstance(data, dict) else ()
    found = {name: value for name, value in items if isinstance(value, LazyTensor) and isinstance(name, str)}
    try:
        check_count(len(found))
        for name in found:
            check_name(name)
    except ValueError as error:
        raise CorruptFileError(f"{what} cannot be read: {error}", FETCH_AGAIN) from error
    tensors = {name: value.renamed(name) for name, value in found.items()}
    if not tensors:
        raise MismatchError(f"{what} holds no named tensors", "it is not a state dict")
    return tensors


def _fail(path: Path, what: str) -> NoReturn:
    raise CorruptFileError(f"{path} {what}", FETCH_AGAIN)
