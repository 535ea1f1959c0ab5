"""Read and write safetensors files: 8 bytes of header length, a JSON header, then the bytes of the tensors.

Files are memory-mapped, and all offsets are checked before any tensor is read. Tensors are written one at a time, so
a file may exceed memory. Source: the format description of the safetensors project.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from soundloom.atomic import atomic_file
from soundloom.checkpoints.formats.limits import check_count, check_name
from soundloom.checkpoints.formats.tensors import NUMPY_DTYPES, LazyTensor, MappedFile
from soundloom.errors import FETCH_AGAIN, CorruptFileError, shown
from soundloom.untrusted.json import decode_json
from soundloom.untrusted.limits import are_sizes, is_shape

_LENGTH_BYTES = 8
_MAX_HEADER = 1 << 23  # bytes; the format allows 100 MB, real files have a few hundred thousand
_ALIGNMENT = 8


def read_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Return all tensors of a file by name, lazily. Raises CorruptFileError."""
    return read_safetensors_and_metadata(path)[0]


def read_safetensors_and_metadata(path: Path) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Return all tensors of a file by name, lazily, and its metadata. Raises CorruptFileError."""
    file = MappedFile(path)
    size = file.size
    if size < _LENGTH_BYTES:
        _fail(path, f"has {size} bytes, too few for the header length")
    header_size = int.from_bytes(file.read(0, _LENGTH_BYTES).tobytes(), "little")
    if header_size > min(_MAX_HEADER, size - _LENGTH_BYTES):
        _fail(path, f"claims a header of {header_size} bytes in a file of {size} bytes")
    start = _LENGTH_BYTES + header_size
    header = _decode_header(path, file.read(_LENGTH_BYTES, start).tobytes())
    metadata = header.pop("__metadata__", None)  # free text, which nothing here depends on
    try:
        check_count(len(header))
        for name in header:
            check_name(name)
    except ValueError as error:
        _fail(path, f"cannot be read: {error}")
    tensors = {name: _tensor(path, name, entry, file, start) for name, entry in header.items()}
    _check_coverage(path, header, size - start)
    texts = metadata.items() if isinstance(metadata, dict) else ()
    return tensors, {key: value for key, value in texts if isinstance(value, str)}


def _decode_header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = decode_json(text, _MAX_HEADER, lambda pairs: _unique(path, pairs))
    except ValueError as error:
        _fail(path, f"has a header that is not JSON ({error})")
    if not isinstance(header, dict):
        _fail(path, "has a header that is not a JSON object")
    return header


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        _fail(path, "names a tensor twice in its header")
    return result


def _tensor(path: Path, name: str, entry: Any, file: MappedFile, start: int) -> LazyTensor:
    """Check one header entry, whose offsets count from `start`, and return its tensor."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape", 0), fields.get("data_offsets", ())
    if not isinstance(dtype, str) or not is_shape(shape, 8) or not are_sizes(offsets) or len(offsets) != 2:
        _fail(path, f"describes tensor '{shown(name)}' without a valid dtype, shape and data_offsets")
    if dtype not in NUMPY_DTYPES:
        _fail(path, f"holds tensor '{shown(name)}' in dtype '{shown(dtype)}'; supported: {', '.join(NUMPY_DTYPES)}")
    shape, (begin, end) = tuple(shape), offsets
    expected = math.prod(shape) * NUMPY_DTYPES[dtype].itemsize
    if end - begin != expected:
        _fail(path, f"gives tensor '{shown(name)}' {end - begin} bytes, not {expected} for {dtype} {list(shape)}")
    missing = start + end - file.size
    if missing > 0:
        _fail(path, f"is truncated: tensor '{shown(name)}' ends {missing} bytes beyond the end of the file")
    return LazyTensor(name, dtype, shape, lambda: file.read(start + begin, start + end))


def _check_coverage(path: Path, header: Mapping[str, Any], size: int) -> None:
    """Check that tensors fill the data section without overlap or gap, as the format requires."""
    position = 0
    for (begin, end), name in sorted((entry["data_offsets"], name) for name, entry in header.items()):
        if begin != position:
            fault = "overlaps the tensor before it" if begin < position else "leaves unused bytes before it"
            _fail(path, f"places tensor '{shown(name)}' at offset {begin}, which {fault} (expected {position})")
        position = end
    if position != size:
        _fail(path, f"has {size} bytes of data, but its header describes {position}")


def _fail(path: Path, what: str) -> NoReturn:
    raise CorruptFileError(f"{path} {what}", FETCH_AGAIN)


def write_safetensors(path: Path, tensors: Iterable[LazyTensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors in the given order, with one in memory at a time."""
    tensors = list(tensors)
    header = _encode_header(tensors, metadata)
    with atomic_file(path) as file:
        file.write(len(header).to_bytes(_LENGTH_BYTES, "little"))
        file.write(header)
        for tensor in tensors:
            file.write(tensor.data().data)


def _encode_header(tensors: Sequence[LazyTensor], metadata: Mapping[str, str] | None) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for tensor in tensors:
        if tensor.name in header:
            raise ValueError(f"two tensors are named {tensor.name}")
        offsets = [position, position + tensor.nbytes]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        position = offsets[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % _ALIGNMENT)  # aligns the data
