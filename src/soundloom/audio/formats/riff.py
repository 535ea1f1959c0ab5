"""Add chunks to WAV files in place."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from typing import BinaryIO

from soundloom.audio.formats.chunks import Chunk, chunks

INFO = b"INFO"


def replace_chunks(file: BinaryIO, new: Mapping[bytes, bytes]) -> None:
    """Append chunks, by their names of four bytes, to an open RIFF file; older ones of a name become JUNK."""
    _replace(file, lambda chunk: chunk.name in new, b"".join(_chunk(name, data) for name, data in new.items()))


def replace_info(file: BinaryIO, tags: Mapping[str, str]) -> None:
    """Append a LIST INFO chunk with tags, by their names of four letters, to an open RIFF file; an older one becomes
    JUNK.
    """

    def is_info(chunk: Chunk) -> bool:
        file.seek(chunk.body)
        return chunk.name == b"LIST" and file.read(4) == INFO

    texts = (_chunk(name.encode(), text.encode() + b"\0") for name, text in tags.items())
    _replace(file, is_info, _chunk(b"LIST", INFO + b"".join(texts)))


def clear_time(file: BinaryIO) -> None:
    """Set the time in the PEAK chunk of an open RIFF file to 0, so that equal audio makes equal files."""
    for chunk in chunks(file):
        if chunk.name == b"PEAK":
            file.seek(chunk.body + 4)  # after the version
            file.write(b"\0\0\0\0")
            return


def _replace(file: BinaryIO, is_old: Callable[[Chunk], bool], new: bytes) -> None:
    for chunk in list(chunks(file)):
        if is_old(chunk):
            file.seek(chunk.start)
            file.write(b"JUNK")
    if file.seek(0, os.SEEK_END) % 2:
        file.write(b"\0")
    file.write(new)
    size = file.seek(0, os.SEEK_END) - 8
    file.seek(4)
    file.write(struct.pack("<I", size))


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
