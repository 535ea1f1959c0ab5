"""Read the tensors of a file that `torch.save` wrote, without PyTorch and without running anything in it.

Such a file is a zip archive: `data.pkl`, a pickle, describes the objects, and each storage lies in a member of its
own, mapped here and not copied. A pickle names classes and functions to call. Of these only the few that rebuild
tensors and dictionaries are known, each as a function of this module; every other name becomes an inert object that
takes whatever it is given and does nothing. No module is ever imported for a pickle.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from soundloom.checkpoints.npz_file import data_offset
from soundloom.checkpoints.safetensors_file import FETCH_AGAIN
from soundloom.checkpoints.tensors import NUMPY_DTYPES, Array, LazyTensor, MappedFile
from soundloom.errors import CorruptFileError, MismatchError

Tensors = dict[str, LazyTensor]

# Storage classes of PyTorch by the dtype of their values.
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
}


class Inert:
    """Stands for an object of a class that is not known here; whatever is done to it has no effect."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Inert:
        return self

    def _take(self, *_: Any) -> None:
        pass

    # What the instructions of a pickle do to objects: set state, fill a dictionary, a list, a set.
    __setstate__ = __setitem__ = append = extend = add = _take


class _Dictionary(dict[Any, Any]):
    """A dictionary that may be given attributes, which are dropped."""

    def __setstate__(self, _: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries, lists, numbers, strings and lazy tensors of a pickle, and nothing else."""

    def __init__(self, stream: Any, storage: Callable[[Any], LazyTensor]) -> None:
        super().__init__(stream)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return _KNOWN.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)


def _rebuild_tensor(storage: LazyTensor, offset: int, size: Any, stride: Any, *_: Any) -> LazyTensor:
    """A view of a storage, which is a tensor of one axis; its bytes where they lie in order."""
    shape, strides = tuple(map(int, size)), tuple(map(int, stride))
    reach = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if math.prod(shape) else 0
    if min((offset, *shape, *strides)) < 0 or reach >= max(storage.shape[0], 1):
        raise CorruptFileError("a tensor lies outside of its storage", FETCH_AGAIN)
    width = NUMPY_DTYPES[storage.dtype].itemsize
    begin, end = offset * width, (offset + math.prod(shape)) * width
    if strides == _strides_in_order(shape):
        return LazyTensor("", storage.dtype, shape, lambda: storage.read()[begin:end])
    steps = tuple(step * width for step in strides)

    def view() -> Array:
        values = storage.read()[begin:].view(NUMPY_DTYPES[storage.dtype])
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values, shape, steps)).reshape(-1).view(np.uint8)

    return LazyTensor("", storage.dtype, shape, view)


def _strides_in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Dictionary,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def read_pickle(path: Path) -> Any:
    """The object in a file of `torch.save`; tensors in it are lazy and have no name yet. Raises CorruptFileError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            root = next((name[: -len("data.pkl")] for name in members if name.endswith("/data.pkl")), None)
            if root is None:
                _fail(path, "is a zip archive, but not one of torch.save")
            if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
                _fail(path, "was written on a machine of another byte order")
            storage = partial(_map_storage, path, MappedFile(path), members, f"{root}data/")
            with archive.open(f"{root}data.pkl") as stream:
                return _Unpickler(stream, storage).load()
    except CorruptFileError:
        raise
    except zipfile.BadZipFile:
        _fail(path, "is not a zip archive: torch.save has written none but those since 2020")
    # A pickle is a program; a damaged one can fail in any way that its few instructions can.
    except Exception as error:
        _fail(path, f"holds a pickle that cannot be read ({type(error).__name__}: {error})")


def _map_storage(
    path: Path, file: MappedFile, members: dict[str, zipfile.ZipInfo], folder: str, pid: Any
) -> LazyTensor:
    _, dtype, key, _, count = pid
    member = members.get(f"{folder}{key}")
    if dtype not in NUMPY_DTYPES or member is None or member.compress_type != zipfile.ZIP_STORED:
        _fail(path, f"has no readable storage {key!r}")
    size = count * NUMPY_DTYPES[dtype].itemsize
    begin = data_offset(member, file)
    if size > member.file_size or begin + size > file.size:
        _fail(path, f"is truncated: storage {key!r} lacks some of its {size} bytes")
    return LazyTensor(str(key), dtype, (count,), partial(file.read, begin, begin + size))


def tensors_of(data: Any, what: str) -> Tensors:
    """The tensors of a state dict by name; other values are passed over. Raises MismatchError where there are none."""
    items = data.items() if isinstance(data, dict) else ()
    tensors = {name: value.renamed(name) for name, value in items if isinstance(value, LazyTensor)}
    if not tensors:
        raise MismatchError(f"{what} holds no tensors by name", "it is another sort of file than its name says")
    return tensors


def _fail(path: Path, what: str) -> NoReturn:
    raise CorruptFileError(f"{path} {what}", FETCH_AGAIN)
