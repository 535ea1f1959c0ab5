"""The .npy file format, read without NumPy's own reader, which evaluates the header as Python."""

from __future__ import annotations

import re
from math import prod

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import CorruptFileError, shown

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000  # bytes
MOST_AXES = 8
_HEADER = re.compile(
    r"\{\s*'descr':\s*'([<>=|][a-zA-Z]\d{1,3})',\s*'fortran_order':\s*(True|False),"
    r"\s*'shape':\s*\(((?:\d{1,18},?\s*)*)\),?\s*\}\s*"
)


def parse_npy(data: bytes, name: str) -> NDArray:
    """The array of numbers in a .npy file's bytes. Raises CorruptFileError, which says `name`."""
    start, text = _header(data, name)
    match = _HEADER.fullmatch(text)
    if match is None:
        raise CorruptFileError(f"{name} is not an array of numbers: its header says {shown(text.strip())}")
    shape = tuple(map(int, re.findall(r"\d+", match[3])))
    try:
        kind = np.dtype(match[1])
    except TypeError:
        kind = np.dtype(object)
    if kind.kind not in "biufc" or len(shape) > MOST_AXES:
        raise CorruptFileError(f"{name} is not an array of numbers: its header says {shown(text.strip())}")
    if prod(shape) * kind.itemsize != len(data) - start:
        found = f"{len(data) - start} bytes are there for {shown(shape)} values of {kind.itemsize} bytes"
        raise CorruptFileError(f"{name} is not an array as its header describes it: {found}")
    array = np.frombuffer(data, kind, offset=start)
    return array.reshape(shape, order="F" if match[2] == "True" else "C")


def _header(data: bytes, name: str) -> tuple[int, str]:
    """Where the numbers begin, and the text before them."""
    if not data.startswith(MAGIC) or len(data) < 12:
        raise CorruptFileError(f"{name} is not an array in NumPy's format")
    width = 2 if data[6] == 1 else 4
    size = int.from_bytes(data[8 : 8 + width], "little")
    if data[6] not in (1, 2, 3) or size > LONGEST_HEADER or len(data) < 8 + width + size:
        raise CorruptFileError(f"{name} is not an array: its header is damaged")
    return 8 + width + size, data[8 + width : 8 + width + size].decode("latin-1")
