"""Verify a checkpoint completely: compare file hashes with recorded ones, and check that all values are finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.tensors import LazyTensor, is_float
from soundloom.checkpoints.hashes import find_hashes, recorded_faults, sha256_of
from soundloom.checkpoints.hub.cache import download_faults, is_download
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.stable_audio.open import Checkpoint

_BF16_EXPONENT = 0x7F80  # all ones in infinities and NaN
_CHUNK = 1 << 22


@dataclass(frozen=True)
class FileDigest:
    """A file and its hash; `size` in bytes."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class VerifyReport:
    """The result of `verify`. `faults` has a sentence for each damaged file and for each tensor with non-finite values.

    `unrecorded` lists weight files without a known hash, in which damage may go unnoticed.
    """

    name: str
    files: tuple[FileDigest, ...]
    tensors: int
    parameters: int
    faults: tuple[str, ...]
    unrecorded: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.faults


def verify(checkpoint: Checkpoint | MusicGenCheckpoint) -> VerifyReport:
    """Read every byte of a checkpoint and its text encoder. Names and shapes were checked when it was opened."""
    text = checkpoint.text_encoder
    tensors = [*checkpoint.tensors.values(), *(text.tensors.values() if text else ())]
    hashes = {path: find_hashes(path) for path in checkpoint.files}
    sha256 = _Digests()  # caches, since hashing gigabytes takes long
    folders = sorted({folder for folder in hashes.values() if folder})
    faults = [fault for folder in folders for fault in recorded_faults(folder, sha256)]
    faults += download_faults(checkpoint.files, sha256)
    for tensor in tensors:
        if count := count_nonfinite(tensor):
            faults.append(f"{tensor.name}: {count} of {math.prod(tensor.shape)} values are not finite")
    return VerifyReport(
        name=checkpoint.name,
        files=tuple(FileDigest(path, path.stat().st_size, sha256(path)) for path in checkpoint.files),
        tensors=len(tensors),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        faults=tuple(faults),
        unrecorded=tuple(str(path) for path, folder in hashes.items() if not (folder or is_download(path))),
    )


class _Digests:
    """Compute the sha256 of files, each once, even if links give it several names."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def __call__(self, path: Path) -> str:
        place = path.resolve()
        if place not in self._known:
            self._known[place] = sha256_of(place)
        return self._known[place]


def count_nonfinite(tensor: LazyTensor) -> int:
    """Count values that are NaN or infinite; for a packed tensor, in its scales and biases."""
    if len(tensor.parts) > 1:
        return sum(map(count_nonfinite, tensor.parts))
    if not is_float(tensor):
        return 0
    if tensor.dtype == "BF16" and tensor.stored:
        # Checking exponents avoids converting a large tensor.
        bits = tensor.buffer().view(np.uint16).reshape(-1)
        return sum(
            int(np.count_nonzero((bits[start : start + _CHUNK] & _BF16_EXPONENT) == _BF16_EXPONENT))
            for start in range(0, bits.size, _CHUNK)
        )
    flat = tensor.numpy().reshape(-1)
    return sum(
        int(np.count_nonzero(~np.isfinite(flat[start : start + _CHUNK]))) for start in range(0, flat.size, _CHUNK)
    )
