"""Stored latents in the published layout: arrays (channels, frames) in .npy files, each with a .json file beside it.

Names are ten digits, the first six for a batch and the last four for an item of it. The .json holds `prompt`,
`seconds_total` (rounded up), `timestamps`, `padding_mask` (one number for each frame) and where the sound came from;
soundloom adds the exact `seconds`, all `captions`, and the hashes that tell whether a sound was encoded already.
`silence.npy` (1, channels, frames) in the folder is encoded silence. Source: stable-audio-3, its pre-encoding script.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import atomic_file
from soundloom.datasets.captions import captions_of
from soundloom.datasets.items import FoundFile, Item, read_metadata, read_small, visible
from soundloom.errors import CorruptFileError, RequestError, printable
from soundloom.npy import npy_array

SILENCE = "silence.npy"
ITEMS_PER_BATCH = 10_000  # of the numbers in names

Array = NDArray[np.float32]


class LatentFile(FoundFile):
    """One array below a folder."""

    def fingerprint(self) -> str:
        return hashlib.sha256(_content(self.path)).hexdigest()

    def describe(self) -> dict[str, Any]:
        table = self.path.with_suffix(".json")
        return read_metadata(read_small(table), printable(table))

    def read(self) -> Item:
        return latent_item(self.origin, _content(self.path), self.describe(), printable(self.path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{printable(path)} cannot be read: {error.strerror}") from error


class LatentFolder:
    """All arrays below a folder, sorted by name; encoded silence and hidden files are left out."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise RequestError(f"there is no folder {self.root}", "name a folder with .npy and .json files in it")

    def entries(self) -> Iterator[LatentFile]:
        for path in visible(self.root, ".npy"):
            if path.name != SILENCE:
                yield LatentFile(self.root, path)

    def silence(self) -> Array | None:
        """Encoded silence (channels, frames) to stand behind short items, if the folder has it."""
        return read_silence(self.root)


def latent_item(origin: str, array: bytes, metadata: Mapping[str, Any], name: str) -> Item:
    """Make an item of an array's bytes and its metadata; frames that only hold padding are cut off."""
    latents = parse_array(array, name)
    mask = metadata.get("padding_mask")
    if isinstance(mask, list) and len(mask) == latents.shape[1]:
        latents = latents[:, : max((frame + 1 for frame, kept in enumerate(mask) if kept), default=0)]
    seconds = metadata.get("seconds", metadata.get("seconds_total"))
    if not latents.size:
        raise CorruptFileError(f"{name} holds no latents")
    if not isinstance(seconds, int | float) or not seconds >= 0:
        raise CorruptFileError(f"{name} has metadata without seconds_total")
    return Item(origin, captions_of(metadata, origin), float(seconds), latents=latents, metadata=metadata)


def parse_array(data: bytes, name: str) -> Array:
    """Latents (channels, frames) of a .npy file's bytes, float32; a leading axis of one is dropped."""
    try:
        array = npy_array(np.frombuffer(data, np.uint8))
    except ValueError as error:
        raise CorruptFileError(f"{name} is not an array: it {error}") from error
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind != "f":
        raise CorruptFileError(f"{name} holds {array.dtype} {array.shape}, not latents (channels, frames)")
    with np.errstate(over="ignore"):
        latents = np.asarray(array, np.float32)
    if not np.isfinite(latents).all():
        raise CorruptFileError(f"{name} holds latents that are not numbers, or too large")
    return latents


def read_silence(root: Path) -> Array | None:
    """Encoded silence (channels, frames) of a folder, if it is there."""
    path = root / SILENCE
    return parse_array(_content(path), printable(path)) if path.is_file() else None


def write_silence(root: Path, latents: NDArray) -> None:
    """Store encoded silence (channels, frames)."""
    with atomic_file(root / SILENCE) as file:
        file.write(array_bytes(latents[None]))


def item_name(number: int) -> str:
    """Ten digits: which batch, which item of it."""
    batch, item = divmod(number, ITEMS_PER_BATCH)
    return f"{batch:06d}{item:04d}"


def latent_metadata(item: Item, frames: int, sample_rate: int) -> dict[str, Any]:
    """What the published layout and soundloom's reader want to know of an encoded sound."""
    return {
        "prompt": item.captions[0] if item.captions else "",
        "seconds_total": math.ceil(item.seconds),
        "seconds_start": 0,
        "timestamps": [0.0, item.seconds],
        "padding_mask": [1] * frames,
        "sample_rate": sample_rate,
        "path": item.origin,
        "relpath": item.origin,
        "seconds": item.seconds,
        "captions": list(item.captions),
    }


def array_bytes(latents: NDArray) -> bytes:
    """The .npy file of an array."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(latents), allow_pickle=False)
    return file.getvalue()


def table_bytes(metadata: Mapping[str, Any]) -> bytes:
    """The .json file of an item."""
    return (json.dumps(metadata, ensure_ascii=False, allow_nan=False) + "\n").encode()


class LatentFolderWriter:
    """Writes items one by one; what is there already is known by the origin of its sound.

    An array is complete when its .json says the hashes of what it was made from, which is written last.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.known: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._next = 0
        for path in sorted(self.root.glob("[!.]*.json")):
            self._remember(path.stem, read_metadata(read_small(path), printable(path)))

    def _remember(self, name: str, metadata: dict[str, Any]) -> None:
        origin = metadata.get("relpath")
        if isinstance(origin, str) and (self.root / f"{name}.npy").is_file():
            self.known[origin], self._names[origin] = metadata, name
        if name.isdecimal():
            batch, item = int(name[:-4] or 0), int(name[-4:])
            self._next = max(self._next, batch * ITEMS_PER_BATCH + item + 1)

    def write(self, metadata: dict[str, Any], latents: NDArray | None) -> None:
        """Store an item, in the place of an older one of the same origin; without latents only what is said of it."""
        origin = metadata["relpath"]
        name = self._names.get(origin) or item_name(self._next)
        if latents is not None:
            with atomic_file(self.root / f"{name}.npy") as file:
                file.write(array_bytes(latents))
        with atomic_file(self.root / f"{name}.json") as file:
            file.write(table_bytes(metadata))
        self._remember(name, metadata)

    def close(self) -> None:
        """Everything is on disk after each write."""
