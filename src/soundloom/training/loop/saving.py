"""Write tensors as torch does, whole or not at all, and tell whether a bit has flipped since.

torch writes a zip archive and compares none of its checksums, so the sha256 of the file stands in the archive's
comment, where `torch.load` passes over it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from soundloom.atomic import atomic_file

_DIGEST_BYTES = 64  # hexadecimal digits of a sha256
_END, _END_BYTES = b"PK\5\6", 22  # of an archive without a comment
_LENGTH = _DIGEST_BYTES.to_bytes(2, "little")  # of the comment, the last field before it


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state that `torch.load` reads. Raises WriteError, also where the disk is full."""
    with atomic_file(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:
            # A failed write ends in a complaint of torch's zip writer; the system's own error is behind it.
            reason = error.__cause__ or error.__context__
            raise reason if isinstance(reason, OSError) else OSError(str(error).partition("\n")[0]) from error
        file.seek(-len(_LENGTH), 2)
        file.write(_LENGTH)
        file.write(_digest(file))


def require_digest(path: Path) -> None:
    """Raise ValueError where a file is not what `save_state` wrote."""
    with path.open("rb") as file:
        file.seek(-_DIGEST_BYTES, 2)
        end = file.read()
        has_digest = not end[-_END_BYTES:].startswith(_END)  # states of earlier versions have no comment
        if has_digest and end != _digest(file, _DIGEST_BYTES):
            raise ValueError("its sha256 is not the one that was written")


def _digest(file: BinaryIO, without: int = 0) -> bytes:
    """The sha256 of a file but for its last bytes, in hexadecimal digits; leaves it at its end."""
    left = file.seek(0, 2) - without
    file.seek(0)
    digest = hashlib.sha256()
    while left and (block := file.read(min(left, 1 << 20))):
        digest.update(block)
        left -= len(block)
    file.seek(0, 2)
    return digest.hexdigest().encode()
