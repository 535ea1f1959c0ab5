"""Parse the chunks of WAV and AIFF files to detect truncated files, which libsndfile reads without a warning."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_CHUNKS = 4096  # of one file; further chunks are ignored
UNKNOWN = 0x7FFF0000  # programs write larger sizes if they do not know the length yet
_BIG_SIZE = 0xFFFFFFFF  # means that the chunk "ds64" has the size


@dataclass(frozen=True)
class Chunk:
    """A chunk of a RIFF or FORM file: the offset of its header, its name, and the size in the header."""

    start: int
    name: bytes
    size: int

    @property
    def body(self) -> int:
        """The offset of its content."""
        return self.start + 8


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a RIFF, RIFX, RF64 or FORM file in order; none for other files."""
    file.seek(0)
    form = file.read(12)[:4]
    order = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">", b"FORM": ">"}.get(form)
    if order is None:
        return
    start, large = 12, 0
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = struct.unpack(f"{order}4sI", header)
        if name == b"ds64":
            sizes = file.read(16)
            large = struct.unpack("<Q", sizes[8:])[0] if len(sizes) == 16 else 0
        if name == b"data" and form in (b"RF64", b"BW64") and size == _BIG_SIZE:
            size = large
        yield Chunk(start, name, size)
        start += 8 + size + size % 2


def describe_truncation(file: BinaryIO) -> str:
    """Describe how a file is truncated; "" if it is complete or that is unknown.

    WAV, RF64, AIFF, W64 and AU are checked by their sizes, OGG by its last page.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(28)
    if start.startswith(b"OggS"):
        return "" if _ogg_is_complete(file, end) else "its last page is missing"
    claimed = _claimed_span(file, start, end)
    if claimed is None or end - claimed[0] >= claimed[1]:
        return ""
    return f"its header claims {claimed[1]} bytes of samples, but it has {max(0, end - claimed[0])}"


def _claimed_span(file: BinaryIO, start: bytes, end: int) -> tuple[int, int] | None:
    """Return offset and size in bytes of the samples according to the header; None if unknown."""
    if start.startswith(b".snd") and len(start) >= 12:
        offset, size = struct.unpack(">II", start[4:12])
        return None if size >= UNKNOWN and offset + size > end else (offset, size)
    if start.startswith(b"dns.") and len(start) >= 12:
        offset, size = struct.unpack("<II", start[4:12])
        return None if size >= UNKNOWN and offset + size > end else (offset, size)
    if start.startswith(b"riff\x2e\x91\xcf\x11"):
        return _claimed_span_of_w64(file, end)
    large = start.startswith((b"RF64", b"BW64"))
    for chunk in chunks(file):
        if chunk.name in (b"data", b"SSND"):
            streamed = not large and chunk.size >= UNKNOWN and chunk.body + chunk.size > end
            return None if streamed or chunk.size == _BIG_SIZE else (chunk.body, chunk.size)
    return None


def _claimed_span_of_w64(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """Do the same for W64: chunk names have 16 bytes, and sizes 8 bytes and include the header of 24."""
    start = 40
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        header = file.read(24)
        if len(header) < 24:
            return None
        size = struct.unpack("<Q", header[16:])[0]
        if header.startswith(b"data"):
            return start + 24, max(0, size - 24)
        start += max(24, size + -size % 8)
        if start >= end:
            return None
    return None


def _ogg_is_complete(file: BinaryIO, end: int) -> bool:
    """Whether the last page is complete and marked as the end of the stream."""
    file.seek(max(0, end - 2 * 65307))  # a page has at most 65,307 bytes
    rest = file.read()
    last = rest.rfind(b"OggS")
    if last < 0 or len(rest) < last + 27:
        return False
    segments = rest[last + 27 : last + 27 + rest[last + 26]]
    return bool(rest[last + 5] & 4) and last + 27 + len(segments) + sum(segments) <= len(rest)
