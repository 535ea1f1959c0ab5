"""A cache of embeddings by content: what a sound's bytes, its cut, the embedder and the recipe determine.

Entries lie in shards, safetensors files that are written once, whole, and never changed, so that several processes can
share a folder and a killed one leaves no partial shard. Every entry has a digest; one that does not match is not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundloom.checkpoints.formats.safetensors import read_safetensors_and_metadata, write_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, from_array
from soundloom.errors import CheckpointError, WriteError, printable
from soundloom.folders import cache_folder

log = logging.getLogger(__name__)

FOLDER = "embeddings"  # in the cache folder
PREFIX, ENDING = "shard-", ".safetensors"
FORMAT = "1"  # of a shard; others are not read
RULES = "1"  # of soundloom.evaluation.frontend; a change of levels, resampling, windows or faults needs another number
FLUSH_ENTRIES, FLUSH_BYTES, FLUSH_SECONDS = 512, 1 << 24, 10.0  # what is held before a shard is written
OPEN_SHARDS = 16
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, CheckpointError)  # of damaged or removed shards

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]


def embedding_key(content_hash: str, start: float, end: float | None, embedder_hash: str, recipe_hash: str) -> str:
    """Return the key of a sound's embedding, 64 digits. `recipe_hash` covers the fields that touch the embedding."""
    cut = float(start), None if end is None else float(end)
    return hashlib.sha256(json.dumps([RULES, content_hash, *cut, embedder_hash, recipe_hash]).encode()).hexdigest()


@dataclass(frozen=True)
class CachedEmbedding:
    """Vectors (windows, d), samples that fill each window (windows,), and notes such as "clipped"."""

    vectors: Floats
    filled: Counts
    notes: tuple[str, ...] = ()

    def digest(self, key: str) -> bytes:
        """SHA-256 of everything, with the key."""
        digest = hashlib.sha256(json.dumps([key, self.vectors.shape, self.notes]).encode())
        digest.update(np.ascontiguousarray(self.vectors, "<f4").data)
        digest.update(np.ascontiguousarray(self.filled, "<i8").data)
        return digest.digest()


@dataclass(frozen=True)
class _Shard:
    """A shard's tensors: the rows of entry i are those from `offsets[i]` to `offsets[i + 1]`."""

    vectors: LazyTensor
    filled: Counts
    offsets: Counts
    digests: NDArray[np.uint8]
    keys: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, path: Path) -> _Shard:
        """Read a shard; entries are checked when they are used. Raises OSError, ValueError, CheckpointError."""
        tensors, metadata = read_safetensors_and_metadata(path)
        if metadata.get("format") != FORMAT:
            raise ValueError("another format")
        filled, offsets, digests, keys = (tensors[name].numpy() for name in ("filled", "offsets", "digests", "keys"))
        notes = tuple(map(tuple, json.loads(metadata["notes"])))
        count, rows = len(keys), tensors["vectors"].shape[0]
        if (len(offsets), digests.shape, len(notes), len(filled)) != (count + 1, (count, 32), count, rows):
            raise ValueError("its parts do not fit")
        return cls(tensors["vectors"], filled, offsets, digests, tuple(row.tobytes().hex() for row in keys), notes)

    def entry(self, index: int) -> CachedEmbedding | None:
        """Return an entry; None if it is damaged."""
        first, stop = (int(offset) for offset in self.offsets[index : index + 2])
        found = CachedEmbedding(
            self.vectors.numpy()[first:stop].copy(), self.filled[first:stop].copy(), self.notes[index]
        )
        return found if found.digest(self.keys[index]) == self.digests[index].tobytes() else None


class EmbeddingCache:
    """Embeddings in a folder, by default `embeddings` in soundloom's cache folder.

    New entries are written by `flush`, and now and then by `add`. As a context manager, it flushes at the end, also
    after an error. A folder that cannot be read or written only costs time. Other processes' entries are found too.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self.hits = self.misses = 0
        self._new: dict[str, CachedEmbedding] = {}
        self._new_bytes, self._flushed = 0, time.monotonic()
        self._index: dict[str, list[tuple[Path, int]]] = {}
        self._known: set[Path] = set()
        self._open: OrderedDict[Path, _Shard] = OrderedDict()
        self._state: int | None = None
        self._can_write = True

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def get(self, key: str) -> tuple[Floats, Counts] | None:
        """Return vectors (windows, d) and filled samples (windows,) of a key; None if they must be computed."""
        found = self.entry(key)
        return None if found is None else (found.vectors, found.filled)

    def entry(self, key: str) -> CachedEmbedding | None:
        """Return the same with its notes."""
        found = self._new.get(key) or self._stored(key)
        if found is None:
            self._scan()
            found = self._stored(key)
        self.hits, self.misses = self.hits + (found is not None), self.misses + (found is None)
        return found

    def add(self, key: str, vectors: Floats, filled: Sequence[int] | Counts, notes: Sequence[str] = ()) -> None:
        """Add vectors (windows, d) of a key, unless they are not finite.

        Raises ValueError for another shape, and for a `key` that is not from `embedding_key`.
        """
        entry = CachedEmbedding(np.array(vectors, np.float32), np.array(filled, np.int64), tuple(notes))
        if entry.vectors.ndim != 2 or entry.filled.shape != entry.vectors.shape[:1] or len(bytes.fromhex(key)) != 32:
            raise ValueError(f"vectors {entry.vectors.shape} and filled {entry.filled.shape} do not fit, or the key")
        if key in self._new or not np.isfinite(entry.vectors).all():
            return
        self._new[key] = entry
        self._new_bytes += entry.vectors.nbytes
        is_full = len(self._new) >= FLUSH_ENTRIES or self._new_bytes >= FLUSH_BYTES
        if is_full or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write new entries to a shard for each number of dimensions. Warns once if that is impossible."""
        pending, self._new, self._new_bytes, self._flushed = self._new, {}, 0, time.monotonic()
        for width in sorted({entry.vectors.shape[1] for entry in pending.values()} if self._can_write else ()):
            entries = {key: entry for key, entry in pending.items() if entry.vectors.shape[1] == width}
            path = self.folder / f"{PREFIX}{secrets.token_hex(8)}{ENDING}"
            try:
                write_safetensors(path, _tensors(entries), {"format": FORMAT, "notes": _notes(entries)})
            except (OSError, WriteError) as error:
                log.warning("embeddings are not cached: %s", error.args[0])
                self._can_write = False
                return

    def _stored(self, key: str) -> CachedEmbedding | None:
        for path, index in self._index.get(key, ()):
            try:
                found = self._shard(path).entry(index)
            except _UNREADABLE:
                continue  # removed since, by `clear`
            if found is not None:
                return found
            log.warning("a cached embedding in %s is damaged and is computed again", printable(path))
        return None

    def _scan(self) -> None:
        """Index shards that have appeared since the last time."""
        try:
            state = self.folder.stat().st_mtime_ns
        except OSError:
            return  # nothing is cached yet
        # A shard may appear in the same tick of the file system's clock, so young states are not relied on.
        if state == self._state:
            return
        self._state = state if time.time_ns() - state > 2 * 10**9 else None
        for path in _shards(self.folder):
            if path not in self._known:
                self._known.add(path)
                try:
                    shard = self._shard(path)
                except _UNREADABLE as error:
                    log.warning("%s is not used: %s", printable(path), error.args[0] if error.args else error)
                    continue
                for index, key in enumerate(shard.keys):
                    self._index.setdefault(key, []).append((path, index))

    def _shard(self, path: Path) -> _Shard:
        """Return a shard, of which a few are open at once."""
        shard = self._open.pop(path, None) or _Shard.read(path)
        self._open[path] = shard
        if len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return shard


@dataclass(frozen=True)
class CacheSize:
    """What the shards of a cache hold; `damaged` are files that cannot be read."""

    folder: Path
    files: int = 0
    entries: int = 0
    bytes: int = 0
    damaged: tuple[Path, ...] = field(default=())


def default_folder() -> Path:
    return cache_folder() / FOLDER


def cache_size(folder: Path | None = None) -> CacheSize:
    """Measure a cache."""
    folder, files, entries, size, damaged = folder or default_folder(), 0, 0, 0, []
    for path in _shards(folder):
        with suppress(OSError):
            size, files = size + path.stat().st_size, files + 1
        try:
            entries += len(_Shard.read(path).keys)
        except _UNREADABLE:
            damaged.append(path)
    return CacheSize(folder, files, entries, size, tuple(damaged))


def clear_cache(folder: Path | None = None) -> CacheSize:
    """Remove all shards of a cache, and return what it held. Raises WriteError."""
    held = cache_size(folder)
    for path in _shards(held.folder):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"{path} cannot be removed: {error.strerror}") from error
    return held


def _shards(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.glob(f"{PREFIX}*{ENDING}")))


def _tensors(entries: Mapping[str, CachedEmbedding]) -> list[LazyTensor]:
    found = list(entries.values())
    offsets = np.cumsum([0, *(len(entry.vectors) for entry in found)])
    digests = b"".join(entry.digest(key) for key, entry in entries.items())
    arrays = {
        "vectors": np.concatenate([entry.vectors for entry in found]),
        "filled": np.concatenate([entry.filled for entry in found]),
        "offsets": offsets.astype(np.int64),
        "digests": np.frombuffer(digests, np.uint8).reshape(-1, 32),
        "keys": np.frombuffer(bytes.fromhex("".join(entries)), np.uint8).reshape(-1, 32),
    }
    return [from_array(name, array) for name, array in arrays.items()]


def _notes(entries: Mapping[str, CachedEmbedding]) -> str:
    return json.dumps([list(entry.notes) for entry in entries.values()])
