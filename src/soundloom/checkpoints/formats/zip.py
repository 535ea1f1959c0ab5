"""Zip archives that hold tensors, npz files and those of `torch.save`: what they claim is checked before use.

Members are stored, and then mapped, or deflated, and then inflated in pieces up to a limit. Everything else that the
zip format has is refused.
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

_END = b"PK\x05\x06"  # of the record that ends an archive
_END_BYTES = 22  # of that record without its comment
_LONG_END = b"PK\x06\x06"  # of the like record with numbers of 64 bits, which stands before it, and of its place
_LONG_END_BYTES, _LOCATOR_BYTES = 56, 20
_LONGEST_TAIL = _LONG_END_BYTES + _LOCATOR_BYTES + _END_BYTES + (1 << 16)  # with the longest comment
_LONGEST_DIRECTORY = 1 << 22  # bytes; each member has 46 and its name
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x01 | 0x20 | 0x40  # flags: encrypted, a patch, strongly encrypted
_PIECE = 1 << 20  # bytes inflated at once
_ALWAYS_INFLATED = 1 << 26  # bytes of all deflated members together, however well they are compressed
_HIGHEST_RATIO = 20  # of bytes inflated to bytes in the file, beyond that. Weights hardly compress at all.


class ZipArchive:
    """The members of a zip file by name. Raises ValueError, whose message says in a few words what is wrong."""

    def __init__(self, path: Path) -> None:
        self.file = MappedFile(path)
        _check_directory(self.file)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        # What damaged archives raise: besides BadZipFile whatever reading numbers and text from wrong places gives.
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
            raise ValueError(f"its member {name} is compressed by method {member.compress_type}; known is deflate")
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
                f"its members would inflate to {inflated} bytes, more than the {limit} that its size allows"
            )

    def span(self, name: str) -> tuple[int, int]:
        """Where the bytes of a member begin and end in the file."""
        member = self.members[name]
        header = self.file.read(member.header_offset, member.header_offset + _LOCAL_HEADER.size).tobytes()
        magic, *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        begin = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        end = begin + member.compress_size
        if magic != _LOCAL_MAGIC or end > self.file.size:
            raise ValueError(f"its member {shown(name)} lies outside of the file or has no header")
        return begin, end

    def is_stored(self, name: str) -> bool:
        """Whether a member lies in the file as it is."""
        return self.members[name].compress_type == zipfile.ZIP_STORED

    def read(self, name: str) -> Array:
        """The bytes of a member, mapped or inflated to the size that it claims, if their checksum is right."""
        data, member = self.file.read(*self.span(name)), self.members[name]
        if not self.is_stored(name):
            data = _inflate(data, member.file_size, shown(name))
        if zlib.crc32(data.data) != member.CRC:
            raise ValueError(f"its member {shown(name)} is damaged: its checksum is wrong")
        return data


def _check_directory(file: MappedFile) -> None:
    """Raise ValueError for a directory of members that is too long to be read."""
    if file.size < _END_BYTES:
        raise ValueError(f"it has only {file.size} bytes")
    tail = file.read(max(0, file.size - _LONGEST_TAIL), file.size).tobytes()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise ValueError("it lacks the record that ends a zip archive")
    size = int(struct.unpack_from("<I", tail, place + 12)[0])
    long_record = place - _LOCATOR_BYTES - _LONG_END_BYTES  # of archives whose numbers may have 64 bits
    if long_record >= 0 and tail.startswith(_LONG_END, long_record):
        size = int(struct.unpack_from("<Q", tail, long_record + 40)[0])
    if size > _LONGEST_DIRECTORY:
        raise ValueError(f"its list of members has {size} bytes, more than the {_LONGEST_DIRECTORY} that are read")


def _check_overlap(members: list[zipfile.ZipInfo]) -> None:
    """Raise ValueError for members that share bytes of the file, of which a small one could hold any number."""
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
