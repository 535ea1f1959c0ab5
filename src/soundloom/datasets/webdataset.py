"""WebDataset shards: tar files whose members of one stem are one example.

Reads sound or latents (`000001.flac`, `000001.npy`) with `000001.json` and `000001.txt` beside them, and writes
latents. A shard is read from its beginning to its end, which suits slow and remote disks; only shelved samples are read
from where they are.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import atomic_file
from soundloom.datasets.captions import captions_of, read_sidecars
from soundloom.datasets.folders import SOUND_ENDINGS
from soundloom.datasets.items import Entry, Item, Unreadable, as_unicode, read_metadata, visible
from soundloom.datasets.latents import ITEMS_PER_BATCH, array_bytes, item_name, latent_item, read_silence, table_bytes
from soundloom.datasets.tar import members
from soundloom.errors import CorruptFileError, RequestError, printable, shown

SHARD_ITEMS = 512


@dataclass(frozen=True)
class Place:
    """Where in an uncompressed tar file a member's bytes are."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise CorruptFileError(f"{printable(self.path)} can no longer be read: {error.strerror}") from error
        if len(data) < self.size:
            raise CorruptFileError(
                f"{printable(self.path)} is shorter than it was", "leave shards alone while they are in use"
            )
        return data


@dataclass(frozen=True)
class Sample:
    """The members of one stem: their bytes by their endings, and where that of the sound or the latents is."""

    shard: str
    key: str
    members: Mapping[str, bytes]
    places: Mapping[str, Place]  # empty in a compressed shard

    @property
    def origin(self) -> str:
        return as_unicode(f"{self.shard}/{self.key}")

    def fingerprint(self) -> str:
        return hashlib.sha256(self._content()[1]).hexdigest()

    def read(self) -> Item:
        name, metadata = f"{printable(self.origin)} in its shard", self.describe()
        ending, data = self._content()
        if ending == ".npy":
            return latent_item(self.origin, data, metadata, name)
        from soundloom.audio.files import decode

        audio, rate, _ = decode(io.BytesIO(data), name)
        captions = captions_of(metadata, self.origin)
        return Item(self.origin, captions, audio.shape[1] / rate, audio, rate, metadata=metadata)

    def shelved(self) -> Sample:
        return replace(self, members={end: data for end, data in self.members.items() if end not in self.places})

    def _content(self) -> tuple[str, bytes]:
        """Ending and bytes of the sound or the latents."""
        for ending, data in self.members.items():
            if _is_content(ending):
                return ending, data
        if self.places:
            ending, place = next(iter(self.places.items()))
            return ending, place.read()
        found = shown(", ".join(self.members))
        raise CorruptFileError(f"{printable(self.origin)} holds neither sound nor latents, only {found}")

    def describe(self) -> dict[str, Any]:
        return read_sidecars(self.members.get(".json"), self.members.get(".txt"), printable(self.origin))


def _is_content(ending: str) -> bool:
    return ending == ".npy" or ending in SOUND_ENDINGS


class Shards:
    """The samples of one tar file, or of all in a folder, in the order in which they are stored."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.paths = [self.root] if self.root.is_file() else list(visible(self.root, ".tar"))
        if not self.paths:
            raise RequestError(f"there are no shards in {self.root}", "name a .tar file, or a folder of them")

    def entries(self) -> Iterator[Entry]:
        for path in self.paths:
            name = path.stem if path == self.root else path.relative_to(self.root).with_suffix("").as_posix()
            try:
                yield from read_shard(path, name)
            except CorruptFileError as error:
                yield Unreadable(as_unicode(name), error)

    def silence(self) -> NDArray[np.float32] | None:
        """Encoded silence (channels, frames) beside the shards, if it is there."""
        return read_silence(self.root if self.root.is_dir() else self.root.parent)

    def shuffle(self, rng: np.random.Generator) -> None:
        """Take the shards in another order from now on; `items.shuffled` mixes what is in them."""
        self.paths = [self.paths[place] for place in rng.permutation(len(self.paths))]


def read_shard(path: Path, shard: str) -> Iterator[Sample | Unreadable]:
    """Samples of one tar file. Raises CorruptFileError where it is damaged."""
    key, found, places = "", dict[str, bytes](), dict[str, Place]()
    with members(path) as (is_packed, files):
        for member, data in files:
            name = PurePosixPath(member.name)
            if not name.name or name.name.startswith("."):
                continue
            here = str(name.with_suffix(""))
            if data is None:
                sparse = f"{printable(member.name)} in its shard is a sparse file of {member.size} bytes"
                yield Unreadable(as_unicode(f"{shard}/{here}"), CorruptFileError(sparse))
                continue
            if here != key and found:
                yield Sample(shard, key, found, places)
                found, places = {}, {}
            key, ending = here, name.suffix.lower()
            found[ending] = data
            if not is_packed and _is_content(ending):
                places[ending] = Place(path, member.offset_data, member.size)
    if found:
        yield Sample(shard, key, found, places)


def _samples(path: Path) -> Iterator[Sample]:
    """Samples of a shard that was written here."""
    return (sample for sample in read_shard(path, path.stem) if isinstance(sample, Sample))


class ShardWriter:
    """Gathers latents into shards that appear whole; an item of a known origin replaces the older one.

    New items wait until a shard is full, replacing ones until `close`; what waits when a run is killed is made again.
    A last shard that is not full waits too, so that a run that was stopped and goes on leaves the shards of one that
    was not.
    """

    def __init__(self, root: str | Path, shard_items: int = SHARD_ITEMS) -> None:
        self.root, self.shard_items = Path(root), shard_items
        self.known: dict[str, dict[str, Any]] = {}
        self._shards: dict[str, Path] = {}  # of each origin
        self._new: dict[str, dict[str, bytes]] = {}
        self._is_written = True  # whether all of `_new` is on disk
        self._changed: dict[Path, dict[str, dict[str, bytes]]] = {}
        self._number = 0
        for path in sorted(self.root.glob("[!.]*.tar")):
            self._remember(path)

    def _remember(self, path: Path) -> None:
        number = int(path.stem) if path.stem.isdecimal() else -1
        items: dict[str, dict[str, bytes]] = {}
        is_own = path == self._path(number)
        for place, sample in enumerate(_samples(path)):
            is_own &= sample.key == item_name(number * ITEMS_PER_BATCH + place)
            metadata = read_metadata(sample.members.get(".json", b"{}"), sample.origin)
            if isinstance(origin := metadata.get("relpath"), str):
                self.known[origin], self._shards[origin] = metadata, path
                items[origin] = dict(sample.members)
            else:
                is_own = False
        if number < self._number:
            return
        if is_own and 0 < len(items) < self.shard_items:
            self._number, self._new = number, items
        else:
            self._number, self._new = number + 1, {}

    def write(self, metadata: dict[str, Any], latents: NDArray | None) -> None:
        """Take an item; without latents only what is said of it changes."""
        origin = metadata["relpath"]
        members = {".json": table_bytes(metadata)}
        if latents is not None:
            members[".npy"] = array_bytes(latents)
        self.known[origin] = metadata
        if origin in self._shards and origin not in self._new:
            self._changed.setdefault(self._shards[origin], {})[origin] = members
            return
        self._new[origin] = {**self._new.get(origin, {}), **members}
        self._is_written = False
        if len(self._new) >= self.shard_items:
            self._write_new()
            self._number += 1
            self._new = {}

    def close(self) -> None:
        """Write what still waits."""
        if not self._is_written:
            self._write_new()
        for path, changed in self._changed.items():
            write_shard(path, list(_replaced(path, changed)))
        self._changed = {}

    def _write_new(self) -> None:
        first = self._number * ITEMS_PER_BATCH
        write_shard(
            self._path(self._number), [(item_name(first + i), item) for i, item in enumerate(self._new.values())]
        )
        self._shards.update(dict.fromkeys(self._new, self._path(self._number)))
        self._is_written = True

    def _path(self, number: int) -> Path:
        return self.root / f"{number:06d}.tar"


def _replaced(path: Path, changed: Mapping[str, dict[str, bytes]]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples of a shard, those of the given origins with new members."""
    for sample in _samples(path):
        origin = read_metadata(sample.members.get(".json", b"{}"), sample.origin).get("relpath")
        yield sample.key, {**sample.members, **changed.get(str(origin), {})}


def write_shard(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    """Write a tar file of keys and the members of each; the same samples give the same bytes."""
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for ending, data in sorted(members.items()):
                member = tarfile.TarInfo(f"{key}{ending}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
