"""Read and write WebDataset shards: tar files whose members with one stem are one sample.

A sample is audio or latents (`000001.flac`, `000001.npy`) with `000001.json` and `000001.txt`; only latents are
written. Shards are read sequentially, which suits slow and remote disks. Only samples without data seek to their bytes.
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
from soundloom.datasets.examples import Example, FileEntry, Unreadable, list_files, parse_metadata
from soundloom.datasets.folders import SOUND_ENDINGS
from soundloom.datasets.latents import (
    EXAMPLES_PER_BATCH,
    example_name,
    json_bytes,
    latent_example,
    npy_bytes,
    read_silence,
)
from soundloom.datasets.tar import open_tar
from soundloom.errors import CorruptFileError, RequestError, printable, shown, utf8_name

SHARD_EXAMPLES = 512


@dataclass(frozen=True)
class ByteRange:
    """The bytes of a member in an uncompressed tar file."""

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
                f"{printable(self.path)} is shorter than it was", "do not change shards while they are in use"
            )
        return data


@dataclass(frozen=True)
class Sample:
    """The members with one stem, by ending, and the byte range of the audio or latents."""

    shard: str
    key: str
    members: Mapping[str, bytes]
    ranges: Mapping[str, ByteRange]  # empty in a compressed shard

    @property
    def origin(self) -> str:
        return utf8_name(f"{self.shard}/{self.key}")

    def fingerprint(self) -> str:
        return hashlib.sha256(self._content()[1]).hexdigest()

    def read(self) -> Example:
        name, metadata = f"{printable(self.origin)} in its shard", self.read_metadata()
        ending, data = self._content()
        if ending == ".npy":
            return latent_example(self.origin, data, metadata, name)
        from soundloom.audio.read import decode

        audio, rate, _ = decode(io.BytesIO(data), name)
        captions = captions_of(metadata, self.origin)
        return Example(self.origin, captions, audio.shape[1] / rate, audio, rate, metadata=metadata)

    def without_data(self) -> Sample:
        return replace(self, members={end: data for end, data in self.members.items() if end not in self.ranges})

    def _content(self) -> tuple[str, bytes]:
        """Return the ending and bytes of the audio or latents."""
        for ending, data in self.members.items():
            if _is_content(ending):
                return ending, data
        if self.ranges:
            ending, stored = next(iter(self.ranges.items()))
            return ending, stored.read()
        found = shown(", ".join(self.members))
        raise CorruptFileError(f"{printable(self.origin)} holds neither audio nor latents, only {found}")

    def read_metadata(self) -> dict[str, Any]:
        return read_sidecars(self.members.get(".json"), self.members.get(".txt"), printable(self.origin))


def _is_content(ending: str) -> bool:
    return ending == ".npy" or ending in SOUND_ENDINGS


class Shards:
    """The samples of one tar file, or of all tar files below a folder, in stored order."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.paths = [self.root] if self.root.is_file() else list(list_files(self.root, ".tar"))
        if not self.paths:
            raise RequestError(f"there are no shards in {self.root}", "name a .tar file, or a folder of them")

    def entries(self) -> Iterator[FileEntry]:
        for path in self.paths:
            name = path.stem if path == self.root else path.relative_to(self.root).with_suffix("").as_posix()
            try:
                yield from read_shard(path, name)
            except CorruptFileError as error:
                yield Unreadable(utf8_name(name), error)

    def silence(self) -> NDArray[np.float32] | None:
        """Encoded silence (channels, frames) beside the shards, if any."""
        return read_silence(self.root if self.root.is_dir() else self.root.parent)

    def shuffle(self, rng: np.random.Generator) -> None:
        """Reorder the shards; `examples.shuffled` shuffles the samples in them."""
        self.paths = [self.paths[index] for index in rng.permutation(len(self.paths))]


def read_shard(path: Path, shard: str) -> Iterator[Sample | Unreadable]:
    """Yield the samples of one tar file. Raises CorruptFileError for a damaged file."""
    key, members, ranges = "", dict[str, bytes](), dict[str, ByteRange]()
    with open_tar(path) as (is_compressed, files):
        for member, data in files:
            name = PurePosixPath(member.name)
            if not name.name or name.name.startswith("."):
                continue
            stem = str(name.with_suffix(""))
            if data is None:
                sparse = f"{printable(member.name)} in its shard is a sparse file of {member.size} bytes"
                yield Unreadable(utf8_name(f"{shard}/{stem}"), CorruptFileError(sparse))
                continue
            if stem != key and members:
                yield Sample(shard, key, members, ranges)
                members, ranges = {}, {}
            key, ending = stem, name.suffix.lower()
            members[ending] = data
            if not is_compressed and _is_content(ending):
                ranges[ending] = ByteRange(path, member.offset_data, member.size)
    if members:
        yield Sample(shard, key, members, ranges)


def _samples(path: Path) -> Iterator[Sample]:
    return (sample for sample in read_shard(path, path.stem) if isinstance(sample, Sample))


class ShardWriter:
    """Collect latents into shards that are written atomically; a new example replaces one of the same origin.

    New examples wait in memory until a shard is full, replacements until `close`; a killed run loses those that wait.
    An incomplete last shard is loaded again, so an interrupted run ends with the same shards as an uninterrupted one.
    """

    def __init__(self, root: str | Path, shard_examples: int = SHARD_EXAMPLES) -> None:
        self.root, self.shard_examples = Path(root), shard_examples
        self.known: dict[str, dict[str, Any]] = {}
        self._shards: dict[str, Path] = {}  # of each origin
        self._new: dict[str, dict[str, bytes]] = {}
        self._is_written = True  # whether all of `_new` is on disk
        self._changed: dict[Path, dict[str, dict[str, bytes]]] = {}
        self._number = 0
        for path in sorted(self.root.glob("[!.]*.tar")):
            self._load(path)

    def _load(self, path: Path) -> None:
        number = int(path.stem) if path.stem.isdecimal() else -1
        examples: dict[str, dict[str, bytes]] = {}
        is_own = path == self._path(number)
        for index, sample in enumerate(_samples(path)):
            is_own &= sample.key == example_name(number * EXAMPLES_PER_BATCH + index)
            metadata = parse_metadata(sample.members.get(".json", b"{}"), sample.origin)
            if isinstance(origin := metadata.get("relpath"), str):
                self.known[origin], self._shards[origin] = metadata, path
                examples[origin] = dict(sample.members)
            else:
                is_own = False
        if number < self._number:
            return
        if is_own and 0 < len(examples) < self.shard_examples:
            self._number, self._new = number, examples
        else:
            self._number, self._new = number + 1, {}

    def write(self, metadata: dict[str, Any], latents: NDArray | None) -> None:
        """Add an example; None keeps the stored latents."""
        origin = metadata["relpath"]
        members = {".json": json_bytes(metadata)}
        if latents is not None:
            members[".npy"] = npy_bytes(latents)
        self.known[origin] = metadata
        if origin in self._shards and origin not in self._new:
            self._changed.setdefault(self._shards[origin], {})[origin] = members
            return
        self._new[origin] = {**self._new.get(origin, {}), **members}
        self._is_written = False
        if len(self._new) >= self.shard_examples:
            self._write_new()
            self._number += 1
            self._new = {}

    def close(self) -> None:
        """Write all examples that wait."""
        if not self._is_written:
            self._write_new()
        for path, changed in self._changed.items():
            write_shard(path, list(_replaced(path, changed)))
        self._changed = {}

    def _write_new(self) -> None:
        first = self._number * EXAMPLES_PER_BATCH
        write_shard(
            self._path(self._number),
            [(example_name(first + i), members) for i, members in enumerate(self._new.values())],
        )
        self._shards.update(dict.fromkeys(self._new, self._path(self._number)))
        self._is_written = True

    def _path(self, number: int) -> Path:
        return self.root / f"{number:06d}.tar"


def _replaced(path: Path, changed: Mapping[str, dict[str, bytes]]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the samples of a shard, with new members for the given origins."""
    for sample in _samples(path):
        origin = parse_metadata(sample.members.get(".json", b"{}"), sample.origin).get("relpath")
        yield sample.key, {**sample.members, **changed.get(str(origin), {})}


def write_shard(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    """Write samples, each a key and its members by ending; equal samples give equal bytes."""
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for ending, data in sorted(members.items()):
                member = tarfile.TarInfo(f"{key}{ending}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
