"""Members of tar files whose headers come from outside: no size is believed before that many bytes were read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from soundloom.errors import CorruptFileError, printable, shown

MOST_HEADER = 2**20  # bytes of a long name, or of other settings in front of a member
ALWAYS_UNPACKED = 2**25  # bytes
MOST_EXPANSION = 50  # times what was read of a compressed file; sound hardly packs, and bombs a thousandfold
PACKED: dict[bytes, Callable[[BinaryIO], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
Files = Iterator[tuple[tarfile.TarInfo, bytes | None]]
DAMAGE = (
    *(tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError),
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError),  # what tarfile raises on odd headers
)


class Member(tarfile.TarInfo):
    """A header that is refused where it is damaged, which tarfile takes for the end of the file."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Member:
        """Read a header of 512 bytes."""
        try:
            member = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a header is damaged ({error})") from error
        in_front = (*tarfile.GNU_TYPES, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if member.size < 0 or (member.type in in_front and member.size > MOST_HEADER):
            raise tarfile.ReadError(f"a header of {shown(member.size)} bytes")
        return member


class _Unpacked:
    """What a compressed file holds, as far as it is no bomb."""

    def __init__(self, file: BinaryIO, packed: BinaryIO) -> None:
        self._file, self._packed, self._done = file, packed, 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        if self._done > ALWAYS_UNPACKED + MOST_EXPANSION * self._packed.tell():
            raise tarfile.ReadError(f"it holds more than {MOST_EXPANSION} times its own size")
        return data


@contextmanager
def members(path: Path) -> Iterator[tuple[bool, Files]]:
    """Whether a tar file is compressed, and its regular files with their bytes, in order; None for what is sparse,
    which is never unfolded.

    Raises CorruptFileError where the file is damaged or cannot be read.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            opener = next((opener for magic, opener in PACKED.items() if start.startswith(magic)), None)
            source = _Unpacked(opener(raw), raw) if opener else raw
            with tarfile.open(fileobj=source, mode="r|", tarinfo=Member) as tar:  # type: ignore[call-overload]
                yield opener is not None, _files(tar)
    except DAMAGE as error:
        raise CorruptFileError(
            f"{printable(path)} is damaged or not a tar file: {shown(str(error) or type(error).__name__)}",
            "remove it, or get it again",
        ) from error


def _files(tar: tarfile.TarFile) -> Files:
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # which tarfile would keep
        if member.sparse is not None or member.type == tarfile.GNUTYPE_SPARSE:
            yield member, None
        elif member.isfile():
            file = tar.extractfile(member)
            yield member, file.read() if file else b""
