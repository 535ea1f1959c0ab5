"""Read and write stored latents in the published layout: .npy arrays (channels, frames), each with a .json file.

Names are ten digits: six for the batch, four for the example in it. The .json holds `prompt`, `seconds_total` (rounded
up), `timestamps`, `padding_mask` (one number per frame) and the path of the sound; soundloom adds the exact `seconds`,
all `captions`, and hashes that identify encoded sounds. `silence.npy` (1, channels, frames) is encoded silence.
Source: stable-audio-3, its pre-encoding script.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import atomic_file
from soundloom.datasets.captions import captions_of
from soundloom.datasets.examples import Example, LocalFile, list_files, parse_metadata, read_small_file
from soundloom.errors import CorruptFileError, RequestError, printable
from soundloom.untrusted.npy import npy_array

SILENCE = "silence.npy"
DETAILS = "details"  # stem of the .json file in which trainers describe a folder
EXAMPLES_PER_BATCH = 10_000  # in file names

Array = NDArray[np.float32]


class LatentFile(LocalFile):
    """An array of latents below a folder."""

    def fingerprint(self) -> str:
        return hashlib.sha256(_content(self.path)).hexdigest()

    def read_metadata(self) -> dict[str, Any]:
        table = self.path.with_suffix(".json")
        return parse_metadata(read_small_file(table), printable(table))

    def read(self) -> Example:
        return latent_example(self.origin, _content(self.path), self.read_metadata(), printable(self.path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{printable(path)} cannot be read: {error.strerror}") from error


class LatentFolder:
    """All arrays below a folder, sorted by name, without encoded silence and hidden files."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise RequestError(f"there is no folder {self.root}", "name a folder with .npy and .json files in it")

    def entries(self) -> Iterator[LatentFile]:
        """Yield the arrays, sorted by name."""
        for path in list_files(self.root, ".npy"):
            if path.name != SILENCE:
                yield LatentFile(self.root, path)

    def silence(self) -> Array | None:
        """Encoded silence (channels, frames) to pad short examples, if the folder has it."""
        return read_silence(self.root)


def latent_example(origin: str, array: bytes, metadata: Mapping[str, Any], name: str) -> Example:
    """Build an example from the bytes of a .npy file and its metadata; padding frames are dropped."""
    latents = parse_latents(array, name)
    mask = metadata.get("padding_mask")
    if isinstance(mask, list) and len(mask) == latents.shape[1]:
        latents = latents[:, : max((frame + 1 for frame, is_real in enumerate(mask) if is_real), default=0)]
    seconds = metadata.get("seconds", metadata.get("seconds_total"))
    if not latents.size:
        raise CorruptFileError(f"{name} holds no latents")
    if not isinstance(seconds, int | float) or not seconds >= 0:
        raise CorruptFileError(f"the metadata of {name} lacks seconds_total")
    return Example(origin, captions_of(metadata, origin), float(seconds), latents=latents, metadata=metadata)


def parse_latents(data: bytes, name: str) -> Array:
    """Parse the bytes of a .npy file into float32 latents (channels, frames); a leading axis of one is dropped."""
    try:
        array = npy_array(np.frombuffer(data, np.uint8))
    except ValueError as error:
        raise CorruptFileError(f"{name} is not a .npy array: it {error}") from error
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind != "f":
        raise CorruptFileError(f"{name} holds {array.dtype} {array.shape}, not latents (channels, frames)")
    with np.errstate(over="ignore"):
        latents = np.asarray(array, np.float32)
    if not np.isfinite(latents).all():
        raise CorruptFileError(f"{name} holds latents that are not finite")
    return latents


def read_silence(root: Path) -> Array | None:
    """Read encoded silence (channels, frames) from a folder, if it has any."""
    path = root / SILENCE
    return parse_latents(_content(path), printable(path)) if path.is_file() else None


def write_silence(root: Path, latents: NDArray) -> None:
    """Store encoded silence (channels, frames)."""
    with atomic_file(root / SILENCE) as file:
        file.write(npy_bytes(latents[None]))


def example_name(number: int) -> str:
    """Return the ten-digit name of an example: batch, then index in the batch."""
    batch, index = divmod(number, EXAMPLES_PER_BATCH)
    return f"{batch:06d}{index:04d}"


def latent_metadata(example: Example, frames: int, sample_rate: int) -> dict[str, Any]:
    """Return the metadata fields of the published layout and of soundloom for an encoded sound."""
    return {
        "prompt": example.captions[0] if example.captions else "",
        "seconds_total": math.ceil(example.seconds),
        "seconds_start": 0,
        "timestamps": [0.0, example.seconds],
        "padding_mask": [1] * frames,
        "sample_rate": sample_rate,
        "path": example.origin,
        "relpath": example.origin,
        "seconds": example.seconds,
        "captions": list(example.captions),
    }


def npy_bytes(latents: NDArray) -> bytes:
    """Return the .npy file of an array."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(latents), allow_pickle=False)
    return file.getvalue()


def json_bytes(metadata: Mapping[str, Any]) -> bytes:
    """Return the .json file of an example."""
    return (json.dumps(metadata, ensure_ascii=False, allow_nan=False) + "\n").encode()


class LatentFolderWriter:
    """Write examples one by one; those already stored are identified by the origin of their sound.

    The .json file with the hashes is written last, so an array is complete once its .json matches. Files are named by
    numbers, or with `by_origin` after their sounds.
    """

    def __init__(self, root: str | Path, by_origin: bool = False) -> None:
        self.root, self.by_origin = Path(root), by_origin
        self.known: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._next = 0
        for path in sorted(self.root.glob("[!.]*.json")):
            self._register(path.stem, parse_metadata(read_small_file(path), printable(path)))

    def _register(self, name: str, metadata: dict[str, Any]) -> None:
        origin = metadata.get("relpath")
        if isinstance(origin, str) and (self.root / f"{name}.npy").is_file():
            self.known[origin], self._names[origin] = metadata, name
        if name.isdecimal():
            batch, index = int(name[:-4] or 0), int(name[-4:])
            self._next = max(self._next, batch * EXAMPLES_PER_BATCH + index + 1)

    def write(self, metadata: dict[str, Any], latents: NDArray | None) -> None:
        """Store an example in place of any older one of the same origin; None keeps the stored latents."""
        origin = metadata["relpath"]
        name = self._names.get(origin) or self._new_name(origin)
        if latents is not None:
            with atomic_file(self.root / f"{name}.npy") as file:
                file.write(npy_bytes(latents))
        with atomic_file(self.root / f"{name}.json") as file:
            file.write(json_bytes(metadata))
        self._register(name, metadata)

    def _new_name(self, origin: str) -> str:
        if not self.by_origin:
            return example_name(self._next)
        stem = PurePosixPath(origin).with_suffix("").as_posix().replace("/", "__").lstrip(".")
        taken = {name.casefold() for name in self._names.values()} | {Path(SILENCE).stem, DETAILS}
        numbered = (f"{stem}-{number}" for number in count(2))
        return next(name for name in chain([stem], numbered) if name.casefold() not in taken)

    def close(self) -> None:
        """Do nothing: each write is on disk already."""
