"""Find one text field in the tags of an audio file: ID3 in MP3, WAV and AIFF, comments in FLAC and OGG.

Only that field is read, compressed frames are skipped, and the numbers of frames, comments and pages are limited, so
an untrusted file cannot use more memory or time than its size suggests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from soundloom.audio.formats.chunks import chunks

MAX_TEXT_BYTES = 16 * 2**20  # bytes of a field, or of all comments
MAX_PARTS = 4096  # frames, comments, blocks or pages
ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")  # of ID3, by number


def find_tag(file: BinaryIO, field: str) -> str | None:
    """Return the text of a field such as SOUNDLOOM, or None. Raises ValueError for damaged tags."""
    file.seek(0)
    magic = file.read(4)
    if magic[:3] == b"ID3":
        end = _end_of_id3(file)
        return _in_id3(file, 0, field) if end is None else _in_flac(file, end, field)
    if magic == b"fLaC":
        return _in_flac(file, 0, field)
    if magic == b"OggS":
        return _in_ogg(file, field)
    for chunk in chunks(file):
        if chunk.name.upper() == b"ID3 ":
            return _in_id3(file, chunk.body, field)
    return None


def _in_id3(file: BinaryIO, start: int, field: str) -> str | None:
    """Return the text of the TXXX frame with this description."""
    for data in frames(file, start, b"TXXX"):
        encoding = ENCODINGS[data[0]] if data and data[0] < len(ENCODINGS) else None
        if encoding is None:
            raise ValueError("a frame TXXX has no known encoding")
        description, text = _split(data[1:], encoding)
        if description == field:
            return text
    return None


def _split(data: bytes, encoding: str) -> tuple[str, str]:
    """Split a frame into description and text, which are terminated by zero or the end."""
    parts = data.decode(encoding, "replace").split("\0", 2)
    return parts[0], parts[1].removeprefix("\ufeff") if len(parts) > 1 else ""


def frames(file: BinaryIO, start: int, wanted: bytes) -> Iterator[bytes]:
    """Yield the contents of frames with one name in an ID3v2.3 or 2.4 tag."""
    file.seek(start)
    header = file.read(10)
    if len(header) < 10 or header[:3] != b"ID3" or header[3] not in (3, 4):
        return
    version, flags, end = header[3], header[5], start + 10 + _seven_bits(header[6:])
    place = start + 10
    if flags & 0x40:  # an extended header; only in 2.4 its size includes itself
        extended = file.read(4)
        place += _seven_bits(extended) if version == 4 else 4 + int.from_bytes(extended)
    for _ in range(MAX_PARTS):
        file.seek(place)
        header = file.read(10)
        if place + 10 > end or len(header) < 10 or not header[:4].strip(b"\0"):
            return
        size = _seven_bits(header[4:8]) if version == 4 else int.from_bytes(header[4:8])
        place += 10 + size
        packed = 0x0C if version == 4 else 0xC0  # compressed or encrypted
        if header[:4] != wanted or header[9] & packed or size > MAX_TEXT_BYTES:
            continue
        data = file.read(size)
        if len(data) < size or place > end:
            raise ValueError("a frame is longer than the tag")
        yield _plain(data, version, header[9], bool(flags & 0x80))
    raise ValueError(f"it has more than {MAX_PARTS} frames")


def _plain(data: bytes, version: int, flags: int, unsynchronized: bool) -> bytes:
    """Remove what flags add to a frame: group, length, and zeros after 255 (unsynchronization)."""
    if version == 3:
        data = data[1:] if flags & 0x20 else data
        return data.replace(b"\xff\0", b"\xff") if unsynchronized else data
    data = data[(1 if flags & 0x40 else 0) + (4 if flags & 1 else 0) :]
    return data.replace(b"\xff\0", b"\xff") if flags & 2 or unsynchronized else data


def _seven_bits(data: bytes) -> int:
    """Decode an integer with seven bits per byte."""
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def _end_of_id3(file: BinaryIO) -> int | None:
    """Return where a FLAC stream begins after an ID3 tag, which holds a C2PA manifest there; None for other files."""
    file.seek(0)
    end = 10 + _seven_bits(file.read(10)[6:])
    file.seek(end)
    return end if file.read(4) == b"fLaC" else None


def _in_flac(file: BinaryIO, start: int, field: str) -> str | None:
    place = start + 4
    for _ in range(MAX_PARTS):
        file.seek(place)
        header = file.read(4)
        if len(header) < 4 or header[0] & 0x7F == 0x7F:
            raise ValueError("a block of the header is damaged")
        size = int.from_bytes(header[1:])
        if header[0] & 0x7F == 4:
            return _in_comments(file.read(size), field)
        if header[0] & 0x80:  # the last one
            return None
        place += 4 + size
    raise ValueError(f"it has more than {MAX_PARTS} blocks")


def _in_ogg(file: BinaryIO, field: str) -> str | None:
    """Find a field in the comments, the second packet of a Vorbis or Opus stream."""
    packet = _second_packet(file)
    for magic in (b"\x03vorbis", b"OpusTags"):
        if packet.startswith(magic):
            return _in_comments(packet[len(magic) :], field)
    return None


def _second_packet(file: BinaryIO) -> bytes:
    packet, ended, place, serial = bytearray(), 0, 0, None
    for _ in range(MAX_PARTS):
        file.seek(place)
        header = file.read(27)
        if len(header) < 27 or header[:4] != b"OggS":
            break
        sizes = file.read(header[26])
        place += 27 + len(sizes) + sum(sizes)
        serial = header[14:18] if serial is None else serial
        if header[14:18] != serial:  # of another stream
            continue
        for size in sizes:
            data = file.read(size)
            packet += data if ended == 1 else b""
            ended += size < 255
            if ended == 2:
                return bytes(packet)
        if len(packet) > MAX_TEXT_BYTES:
            break
    return b""


def _in_comments(data: bytes, field: str) -> str | None:
    """Return the text of the first comment FIELD=text, ignoring case in names."""
    name = field.lower().encode() + b"="
    try:
        place = 4 + struct.unpack_from("<I", data)[0]
        count = struct.unpack_from("<I", data, place)[0]
        place += 4
        for _ in range(min(count, MAX_PARTS)):
            size = struct.unpack_from("<I", data, place)[0]
            comment = data[place + 4 : place + 4 + size]
            if comment[: len(name)].lower() == name:
                return comment[len(name) :].decode("utf-8", "replace")
            place += 4 + size
    except struct.error:
        raise ValueError("the comments are longer than their block") from None
    return None
