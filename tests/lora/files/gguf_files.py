"""Write GGUF files."""

from __future__ import annotations

import struct

import numpy as np


def _text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _value(value):
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def save_gguf(path, tensors, metadata, alignment=32):
    """Write arrays in float32 and metadata: texts, floats and integers."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    offset, data = 0, b""
    for name, array in tensors.items():
        array = np.ascontiguousarray(array, np.float32)
        axes = struct.pack(f"<I{array.ndim}Q", array.ndim, *reversed(array.shape))
        head += _text(name) + axes + struct.pack("<IQ", 0, offset)
        data += array.tobytes()
        data += bytes(-len(data) % alignment)
        offset = len(data)
    path.write_bytes(head + bytes(-len(head) % alignment) + data)
    return path
