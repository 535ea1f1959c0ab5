"""Read float tensors from checkpoints of TensorFlow 1 ("tensor bundles") without TensorFlow.

A checkpoint is an index and a data file. The index is a table of LevelDB: sorted keys in blocks, a block of handles to
them, and a footer of 48 bytes. Its values are protocol buffers with dtype, shape, offset and size of a tensor. Sources:
LevelDB, doc/table_format.md; TensorFlow, core/protobuf/tensor_bundle.proto. Nothing in a file is executed, and all
offsets are checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from soundloom.errors import FETCH_AGAIN, CorruptFileError

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # after each block: compression, and a checksum that the caller's sha256 makes needless
_UNCOMPRESSED = 0
_MAX_INDEX_BYTES = 1 << 22
_MAX_VARINT_BYTES = 10
_FLOAT = 1  # of DataType
_DTYPE, _SHAPE, _OFFSET, _SIZE = 1, 2, 4, 5  # fields of BundleEntryProto
_DIMENSION, _DIMENSION_SIZE = 2, 1  # fields of TensorShapeProto and its Dim
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def read_bundle(index: bytes, data: bytes, keep: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Return the float32 tensors whose names `keep` accepts. Raises CorruptFileError."""
    try:
        if len(index) > _MAX_INDEX_BYTES:
            raise ValueError(f"its index has {len(index)} bytes, more than {_MAX_INDEX_BYTES}")
        entries = ((key.decode(), value) for key, value in _table(index) if key)  # the empty key is a header
        return {name: _tensor(name, entry, data) for name, entry in entries if keep(name)}
    except (ValueError, IndexError) as error:
        raise CorruptFileError(f"the TensorFlow checkpoint cannot be read: {error}", FETCH_AGAIN) from error


def _table(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield all keys and values of a table."""
    footer = index[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("its index is not a table")
    _, place = _handle(footer, 0)  # of the metaindex
    (start, size), _ = _handle(footer, place)
    for _, handle in _block(index, start, size):
        yield from _block(index, *_handle(handle, 0)[0])


def _block(index: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys, which are stored as their difference from the last one, and values of a block."""
    if start + size + _TRAILER_BYTES > len(index) or size < 4 or index[start + size] != _UNCOMPRESSED:
        raise ValueError("a block of its index is truncated or compressed")
    block = index[start : start + size]
    end = size - 4 * (1 + int.from_bytes(block[-4:], "little"))  # restart points follow the entries
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        added, place = _varint(block, place)
        length, place = _varint(block, place)
        if shared > len(key) or place + added + length > end:
            raise ValueError("a block of its index is damaged")
        key = key[:shared] + block[place : place + added]
        place += added + length
        yield key, block[place - length : place]


def _handle(data: bytes, place: int) -> tuple[tuple[int, int], int]:
    start, place = _varint(data, place)
    size, place = _varint(data, place)
    return (start, size), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return an integer in groups of 7 bits, and the place after it."""
    value = 0
    for shift in range(_MAX_VARINT_BYTES):
        byte = data[place + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    raise ValueError("a number in its index is too long")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of the fields of a protocol buffer."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        size = {_FIXED32: 4, _FIXED64: 8}.get(kind, 0)
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif not size:
            raise ValueError(f"its index has a field of the unknown type {kind}")
        if place + size > len(message):
            raise ValueError("a field in its index is truncated")
        yield tag >> 3, message[place : place + size]
        place += size


def _tensor(name: str, entry: bytes, data: bytes) -> np.ndarray:
    fields = dict(_fields(entry))
    shape = _shape(fields.get(_SHAPE, b""))
    offset, size = (_number(fields.get(field, 0)) for field in (_OFFSET, _SIZE))
    if fields.get(_DTYPE) != _FLOAT or math.prod(shape) * 4 != size or offset + size > len(data):
        raise ValueError(f"{name} is not a float tensor inside the data file")
    return np.frombuffer(data, "<f4", size // 4, offset).reshape(shape)


def _shape(message: int | bytes) -> tuple[int, ...]:
    if isinstance(message, int):
        raise ValueError("a shape in its index is not a message")
    dimensions = (value for field, value in _fields(message) if field == _DIMENSION)
    return tuple(
        _number(dict(_fields(one)).get(_DIMENSION_SIZE, 0)) if isinstance(one, bytes) else one for one in dimensions
    )


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a number in its index is not an integer")
    return value
