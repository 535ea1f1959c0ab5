"""Parse untrusted `.npy` files: a magic string, a version, a header and the values.

The header is a Python dictionary literal with three keys. NumPy evaluates it; here it must match regular expressions
for its few valid forms, so no code in it can run. Source: NumPy's description of the format.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import shown
from soundloom.untrusted.limits import is_shape

Bytes = NDArray[np.uint8]

MAX_NPY_HEADER = 1 << 14  # bytes
_KEYS = 3
_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # size of the header length field, by version

_VALUE = r"""'[^'\\]*'|"[^"\\]*"|True|False|\([0-9L, ]*\)"""  # Python 2 wrote an L after integers
_ITEM = re.compile(rf"""['"](descr|fortran_order|shape)['"]\s*:\s*({_VALUE})""")
_HEADER = re.compile(rf"\{{\s*{_ITEM.pattern}(?:\s*,\s*{_ITEM.pattern}){{2}}\s*,?\s*\}}\s*")
_TYPE = re.compile(r"""(['"])([<>|=]?[?biufcmMOSUV][0-9]{0,4})\1""")
_SHAPE = re.compile(r"\( *(?:(?:[0-9]{1,19}L? *, *)+(?:[0-9]{1,19}L? *)?)?\)")


@dataclass(frozen=True)
class NpyHeader:
    """The dtype and layout of an array, whose values begin at byte `start` of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(data: Bytes) -> NpyHeader:
    """Read the header at the start of `data`. Raises ValueError, whose message continues a sentence about the file."""
    prefix = data[:12].tobytes()
    version = prefix[6] if len(prefix) == 12 and prefix.startswith(_MAGIC) else 0
    if version not in _LENGTH_BYTES or prefix[7]:
        raise ValueError("has no npy header of a known version")
    begin = 8 + _LENGTH_BYTES[version]
    length = int.from_bytes(prefix[8:begin], "little")
    if length > min(MAX_NPY_HEADER, len(data) - begin):
        raise ValueError(f"claims an npy header of {length} bytes")
    text = data[begin : begin + length].tobytes().decode("latin-1")
    values = dict(_ITEM.findall(text)) if _HEADER.fullmatch(text) else {}
    if len(values) != _KEYS or values["fortran_order"] not in ("True", "False"):
        raise ValueError(f"has an npy header that cannot be read: {shown(text.strip())}")
    dtype, shape = _dtype(values["descr"]), values["shape"]
    sizes = tuple(map(int, re.findall("[0-9]+", shape))) if _SHAPE.fullmatch(shape) else None
    if not is_shape(sizes, max(dtype.itemsize, 1)) or sizes is None:
        raise ValueError(f"has an npy header with the shape {shown(shape)}")
    return NpyHeader(dtype, sizes, values["fortran_order"] == "True", begin + length)


def npy_array(data: Bytes) -> NDArray[Any]:
    """Return the array in the bytes of a complete file, without a copy. Raises ValueError as `read_npy_header` does."""
    if not len(data):
        raise ValueError("is empty")
    header = read_npy_header(data)
    if header.dtype.hasobject:
        raise ValueError("holds pickled Python objects, which could run code")
    found = len(data) - header.start
    if not header.dtype.itemsize or found != header.nbytes:
        raise ValueError(f"has {found} bytes of values where {header.dtype} {list(header.shape)} needs {header.nbytes}")
    values = data[header.start :].view(header.dtype)
    return values.reshape(header.shape[::-1]).T if header.fortran_order else values.reshape(header.shape)


def _dtype(text: str) -> np.dtype[Any]:
    match = _TYPE.fullmatch(text)
    try:
        return np.dtype(match[2] if match else "")
    except (TypeError, ValueError) as error:
        raise ValueError(f"has values of the unknown type {shown(text)}") from error
