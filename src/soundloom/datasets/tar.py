"""Read untrusted tar files: no size in a header is trusted before that many bytes were read."""

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

MAX_HEADER = 2**20  # bytes of a long name or other extension header
FREE_OUTPUT = 2**25  # bytes that are decompressed without a check
MAX_RATIO = 50  # of decompressed to compressed bytes; audio hardly compresses, decompression bombs do a thousandfold
DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
Files = Iterator[tuple[tarfile.TarInfo, bytes | None]]
DAMAGE = (
    *(tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError),
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError),  # what tarfile raises on odd headers
)


class StrictTarInfo(tarfile.TarInfo):
    """A header that raises when damaged; tarfile would take it for the end of the file."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> StrictTarInfo:
        try:
            member = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a header is damaged ({error})") from error
        extensions = (*tarfile.GNU_TYPES, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if member.size < 0 or (member.type in extensions and member.size > MAX_HEADER):
            raise tarfile.ReadError(f"a header states {shown(member.size)} bytes")
        return member


class _Decompressed:
    """The decompressed bytes of a file; raises on a decompression bomb."""

    def __init__(self, file: BinaryIO, compressed: BinaryIO) -> None:
        self._file, self._compressed, self._done = file, compressed, 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        if self._done > FREE_OUTPUT + MAX_RATIO * self._compressed.tell():
            raise tarfile.ReadError(f"it decompresses to more than {MAX_RATIO} times its size")
        return data


@contextmanager
def open_tar(path: Path) -> Iterator[tuple[bool, Files]]:
    """Open a tar file: yield whether it is compressed, and an iterator of its regular files and their bytes.

    The bytes are None for sparse files, which are never expanded. Raises CorruptFileError for a damaged file.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            opener = next((opener for magic, opener in DECOMPRESSORS.items() if start.startswith(magic)), None)
            source = _Decompressed(opener(raw), raw) if opener else raw
            with tarfile.open(fileobj=source, mode="r|", tarinfo=StrictTarInfo) as tar:  # type: ignore[call-overload]
                yield opener is not None, _files(tar)
    except DAMAGE as error:
        raise CorruptFileError(
            f"{printable(path)} is damaged or not a tar file: {shown(str(error) or type(error).__name__)}",
            "delete the file, or download it again",
        ) from error


def _files(tar: tarfile.TarFile) -> Files:
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header in memory
        if member.sparse is not None or member.type == tarfile.GNUTYPE_SPARSE:
            yield member, None
        elif member.isfile():
            file = tar.extractfile(member)
            yield member, file.read() if file else b""
