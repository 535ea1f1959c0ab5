"""Read untrusted zip archives, as npz and `torch.save` files are; all claims are checked before use.

Stored members are memory-mapped; deflated ones are inflated in chunks up to a limit. Other compression methods and
encryption are rejected.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.limits import check_count, check_name
from soundloom.checkpoints.formats.tensors import Array, MappedFile
from soundloom.errors import shown

_END = b"PK\x05\x06"  # end of central directory record
_END_BYTES = 22  # its size without the comment
_LONG_END = b"PK\x06\x06"  # its zip64 version, which precedes it
_LONG_END_BYTES, _LOCATOR_BYTES = 56, 20
_MAX_TAIL = _LONG_END_BYTES + _LOCATOR_BYTES + _END_BYTES + (1 << 16)  # including the longest comment
_MAX_DIRECTORY_BYTES = 1 << 22  # bytes; each member takes 46 plus its name
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x01 | 0x20 | 0x40  # flags: encrypted, a patch, strongly encrypted
_PIECE = 1 << 20  # bytes inflated at once
_ALWAYS_INFLATED = 1 << 26  # bytes of all deflated members, allowed at any ratio
_HIGHEST_RATIO = 20  # of inflated to compressed size beyond that; weights hardly compress


class ZipArchive:
    """The members of a zip file by name. Raises ValueError, whose message continues a sentence about the file."""

    def __init__(self, path: Path) -> None:
        self.file = MappedFile(path)
        _check_directory(self.file)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        # Damaged archives raise BadZipFile, or whatever parsing numbers and text at wrong offsets raises.
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error, OverflowError) as error:
            raise ValueError(shown(str(error)) or "it cannot be read") from error
        check_count(len(members))
        self.members = {member.filename: member for member in members}
        if len(self.members) != len(members):
            raise ValueError("it names a member twice")
        for member in members:
            self._check(member)
        _check_overlap(members)
        self._check_sizes(members)

    def _check(self, member: zipfile.ZipInfo) -> None:
        check_name(member.filename)
        name = shown(member.filename)
        if member.flag_bits & _ENCRYPTED:
            raise ValueError(f"its member {name} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its member {name} uses compression {member.compress_type}; only deflate is supported")
        if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
            raise ValueError(f"its member {name} is stored in {member.compress_size} of {member.file_size} bytes")
        if not 0 <= member.header_offset <= self.file.size - member.compress_size - _LOCAL_HEADER.size:
            raise ValueError(f"its member {name} reaches beyond the end of the file")

    def _check_sizes(self, members: list[zipfile.ZipInfo]) -> None:
        deflated = [member for member in members if member.compress_type == zipfile.ZIP_DEFLATED]
        inflated = sum(member.file_size for member in deflated)
        limit = max(_ALWAYS_INFLATED, _HIGHEST_RATIO * sum(member.compress_size for member in deflated))
        if inflated > limit:
            raise ValueError(
                f"its members would inflate to {inflated} bytes, more than the limit of {limit} for its size"
            )

    def span(self, name: str) -> tuple[int, int]:
        """Return the offsets in the file where a member begins and ends."""
        member = self.members[name]
        header = self.file.read(member.header_offset, member.header_offset + _LOCAL_HEADER.size).tobytes()
        magic, *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        begin = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        end = begin + member.compress_size
        if magic != _LOCAL_MAGIC or end > self.file.size:
            raise ValueError(f"its member {shown(name)} lies outside of the file or has no header")
        return begin, end

    def is_stored(self, name: str) -> bool:
        """Whether a member is uncompressed."""
        return self.members[name].compress_type == zipfile.ZIP_STORED

    def read(self, name: str) -> Array:
        """Return the bytes of a member, mapped or inflated, after checking size and checksum."""
        data, member = self.file.read(*self.span(name)), self.members[name]
        if not self.is_stored(name):
            data = _inflate(data, member.file_size, shown(name))
        if zlib.crc32(data.data) != member.CRC:
            raise ValueError(f"its member {shown(name)} is damaged: its checksum is wrong")
        return data


def _check_directory(file: MappedFile) -> None:
    """Raise ValueError if the central directory is missing or too long."""
    if file.size < _END_BYTES:
        raise ValueError(f"it has only {file.size} bytes")
    tail = file.read(max(0, file.size - _MAX_TAIL), file.size).tobytes()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise ValueError("it has no end of central directory record")
    size = int(struct.unpack_from("<I", tail, place + 12)[0])
    long_record = place - _LOCATOR_BYTES - _LONG_END_BYTES  # zip64
    if long_record >= 0 and tail.startswith(_LONG_END, long_record):
        size = int(struct.unpack_from("<Q", tail, long_record + 40)[0])
    if size > _MAX_DIRECTORY_BYTES:
        raise ValueError(f"its central directory has {size} bytes, more than the limit of {_MAX_DIRECTORY_BYTES}")


def _check_overlap(members: list[zipfile.ZipInfo]) -> None:
    """Raise ValueError if members overlap, which would let a small file expand without limit."""
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise ValueError(f"its member {shown(member.filename)} overlaps the one before it")
        end = member.header_offset + _LOCAL_HEADER.size + member.compress_size


def _inflate(data: Array, size: int, name: str) -> Array:
    result, filled = np.empty(size, np.uint8), 0
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for start in range(0, len(data), _PIECE):
            rest = data[start : start + _PIECE].tobytes()
            while rest and not stream.eof:
                piece = stream.decompress(rest, _PIECE)
                rest = stream.unconsumed_tail
                if filled + len(piece) > size:
                    raise ValueError(f"its member {name} inflates to more than the {size} bytes that it claims")
                result[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
    except zlib.error as error:
        raise ValueError(f"its member {name} does not inflate ({error})") from error
    if filled != size or not stream.eof:
        raise ValueError(f"its member {name} inflates to {filled} of {size} bytes")
    return result
