"""The chunks of a WAV or AIFF file and how much sound its header promises, read without libsndfile.

libsndfile takes a file that was cut off for a shorter one and says nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MOST_CHUNKS = 4096  # of a file that is sound; beyond, the rest is not looked at
UNKNOWN = 0x7FFF0000  # sizes from here on are what programs write that do not know the length yet
_BIG_SIZE = 0xFFFFFFFF  # stands for the size in the chunk "ds64"


@dataclass(frozen=True)
class Chunk:
    """A part of a RIFF or FORM file: where its header starts, its name, and the size that the header gives."""

    start: int
    name: bytes
    size: int

    @property
    def body(self) -> int:
        """Where its content begins."""
        return self.start + 8


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a RIFF, RIFX, RF64 or FORM file in order; none for other files."""
    file.seek(0)
    form = file.read(12)[:4]
    order = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">", b"FORM": ">"}.get(form)
    if order is None:
        return
    start, large = 12, 0
    for _ in range(MOST_CHUNKS):
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


def what_is_missing(file: BinaryIO) -> str:
    """In words, what a file's header promises and the file does not hold; empty where all is there or none can tell.

    Knows WAV with RF64, AIFF, W64 and AU by their sizes, and OGG by its last page.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(28)
    if start.startswith(b"OggS"):
        return "" if _ogg_is_whole(file, end) else "its last page is not there"
    promised = _promised(file, start, end)
    if promised is None or end - promised[0] >= promised[1]:
        return ""
    return f"its header promises {promised[1]} bytes of samples, and {max(0, end - promised[0])} are there"


def _promised(file: BinaryIO, start: bytes, end: int) -> tuple[int, int] | None:
    """Where the samples begin and how many bytes the header says they take; None where it does not say."""
    if start.startswith(b".snd") and len(start) >= 12:
        offset, size = struct.unpack(">II", start[4:12])
        return None if size >= UNKNOWN and offset + size > end else (offset, size)
    if start.startswith(b"dns.") and len(start) >= 12:
        offset, size = struct.unpack("<II", start[4:12])
        return None if size >= UNKNOWN and offset + size > end else (offset, size)
    if start.startswith(b"riff\x2e\x91\xcf\x11"):
        return _promised_by_w64(file, end)
    large = start.startswith((b"RF64", b"BW64"))
    for chunk in chunks(file):
        if chunk.name in (b"data", b"SSND"):
            streamed = not large and chunk.size >= UNKNOWN and chunk.body + chunk.size > end
            return None if streamed or chunk.size == _BIG_SIZE else (chunk.body, chunk.size)
    return None


def _promised_by_w64(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """W64 has chunks with names of 16 bytes, and sizes of 8 that count their own header of 24."""
    start = 40
    for _ in range(MOST_CHUNKS):
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


def _ogg_is_whole(file: BinaryIO, end: int) -> bool:
    """Whether the last page says that it ends its stream, and ends with the file or before it."""
    file.seek(max(0, end - 2 * 65307))  # a page has at most 65,307 bytes
    rest = file.read()
    last = rest.rfind(b"OggS")
    if last < 0 or len(rest) < last + 27:
        return False
    segments = rest[last + 27 : last + 27 + rest[last + 26]]
    return bool(rest[last + 5] & 4) and last + 27 + len(segments) + sum(segments) <= len(rest)
