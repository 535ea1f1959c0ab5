"""Read GGUF files: key and value pairs, then the names and places of tensors, then their data.

Values are little-endian. Dimensions are listed innermost first. All counts, lengths and offsets are checked before use.
Source: the format description of the ggml project.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soundloom.checkpoints.formats.limits import check_count, check_name
from soundloom.checkpoints.formats.tensors import NUMPY_DTYPES, LazyTensor, MappedFile
from soundloom.errors import FETCH_AGAIN, CorruptFileError, shown
from soundloom.untrusted.limits import is_shape

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_HEADER = 1 << 24  # bytes before the data; tokenizers of language models take some million
_MAX_PAIRS, _MAX_AXES = 1 << 12, 4
_ALIGNMENT = 32  # unless general.alignment says otherwise
_DTYPES = {0: "F32", 1: "F16", 30: "BF16"}  # types of ggml that are not quantized
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def read_gguf(path: Path) -> tuple[dict[str, LazyTensor], dict[str, Any]]:
    """Return the tensors of a file, lazily, and its metadata; arrays are skipped. Raises CorruptFileError."""
    file = MappedFile(path)
    try:
        return _Reader(file).read()
    except ValueError as error:
        raise CorruptFileError(f"{path} is a GGUF file that cannot be read: {error}", FETCH_AGAIN) from error


class _Reader:
    """Read one file from its start. Raises ValueError, whose message continues a sentence about the file."""

    def __init__(self, file: MappedFile) -> None:
        self._file, self._place = file, 0
        self._header = file.read(0, min(file.size, _MAX_HEADER)).tobytes() if file.size else b""

    def read(self) -> tuple[dict[str, LazyTensor], dict[str, Any]]:
        if self._take(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._number("I")
        if version not in _VERSIONS:
            raise ValueError(f"it has version {version}; versions {_VERSIONS[0]} and {_VERSIONS[1]} are supported")
        count, pairs = self._number("Q"), self._number("Q")
        check_count(count)
        if pairs > _MAX_PAIRS:
            raise ValueError(f"it has {pairs} key and value pairs, more than the limit of {_MAX_PAIRS}")
        metadata = dict(self._pair() for _ in range(pairs))
        places = [self._tensor() for _ in range(count)]
        alignment = metadata.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 16:
            raise ValueError(f"it has the alignment {shown(alignment)}")
        start = -(-self._place // alignment) * alignment
        tensors = {name: self._placed(name, dtype, shape, start + offset) for name, dtype, shape, offset in places}
        if len(tensors) != len(places):
            raise ValueError("it names a tensor twice")
        self._check_overlap(places)
        return tensors, {key: value for key, value in metadata.items() if value is not None}

    def _take(self, count: int) -> bytes:
        part = self._header[self._place : self._place + count]
        if len(part) != count:
            raise ValueError("it is truncated, or its header is too long")
        self._place += count
        return part

    def _number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(code)))[0]

    def _text(self) -> str:
        return self._take(self._number("Q")).decode("utf-8", "replace")

    def _pair(self) -> tuple[str, Any]:
        return self._text(), self._value(self._number("I"))

    def _value(self, code: int) -> Any:
        """Return a number or text; skip an array and return None."""
        if code in _NUMBERS:
            return self._number(_NUMBERS[code])
        if code == _STRING:
            return self._text()
        if code != _ARRAY:
            raise ValueError(f"it has a value of the unknown type {code}")
        inner, count = self._number("I"), self._number("Q")
        if inner in _NUMBERS:
            self._take(count * struct.calcsize(_NUMBERS[inner]))
        elif inner == _STRING:
            for _ in range(min(count, len(self._header))):
                self._take(self._number("Q"))
        else:
            raise ValueError("it has an array of arrays")
        return None

    def _tensor(self) -> tuple[str, str, tuple[int, ...], int]:
        """Return name, dtype, shape (outermost first) and offset of a tensor."""
        name = self._text()
        check_name(name)
        axes = self._number("I")
        if axes > _MAX_AXES:
            raise ValueError(f"its tensor {shown(name)} has {axes} axes")
        shape = tuple(reversed([self._number("Q") for _ in range(axes)]))
        code, offset = self._number("I"), self._number("Q")
        if code not in _DTYPES:
            known = ", ".join(_DTYPES.values())
            raise ValueError(f"its tensor {shown(name)} has the quantized type {code}; {known} are supported")
        if not is_shape(shape, 4):
            raise ValueError(f"its tensor {shown(name)} has the shape {shown(list(shape))}")
        return name, _DTYPES[code], shape, offset

    def _placed(self, name: str, dtype: str, shape: tuple[int, ...], begin: int) -> LazyTensor:
        end = begin + math.prod(shape) * NUMPY_DTYPES[dtype].itemsize
        if end > self._file.size:
            raise ValueError(f"its tensor {shown(name)} ends {end - self._file.size} bytes beyond the end of the file")
        read: Callable[[], Any] = lambda: self._file.read(begin, end)  # noqa: E731
        return LazyTensor(name, dtype, shape, read)

    def _check_overlap(self, places: list[tuple[str, str, tuple[int, ...], int]]) -> None:
        end = 0
        for name, dtype, shape, offset in sorted(places, key=lambda place: place[3]):
            if offset < end:
                raise ValueError(f"its tensor {shown(name)} overlaps the one before it")
            end = offset + math.prod(shape) * NUMPY_DTYPES[dtype].itemsize
