"""Embed whole sets of sounds clip by clip: in memory are the vectors, and a few sounds at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from soundloom.cores import count_cores
from soundloom.errors import AudioError
from soundloom.evaluation.cache import EmbeddingCache, embedding_key
from soundloom.evaluation.embedders.base import Embedder, Floats
from soundloom.evaluation.frontend import UNUSABLE, Prepared, batches, faults, prepare
from soundloom.evaluation.recipes import Recipe
from soundloom.evaluation.sets.items import SoundItem
from soundloom.memory import free_memory

LOOKAHEAD = 4  # clips that are decoded ahead, per thread
DECODED_SHARE, DECODED_BYTES = 1 / 16, 1 << 28  # of free memory, and least bytes, for samples that are decoded ahead

NOT_FINITE = "its embedding is not finite"

_CACHE_LOCK = Lock()  # sounds are read in threads

Log = Callable[[int, int], None]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class EmbeddedSet:
    """Vectors (n, d) of the windows of a set, clip after clip.

    `clips` (n,) are the numbers of the windows' clips in `ids`; `filled` (n,) are the samples of sound in each.
    `failures` are the faults of clips without vectors, `warnings` those of other clips, by id.
    """

    vectors: Floats
    clips: NDArray[np.int64]
    filled: Counts
    ids: tuple[str, ...]
    failures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of clips with vectors."""
        return len(self.ids)

    def clip_means(self) -> NDArray[np.float64]:
        """Return the mean vector (clips, d) of each clip."""
        sums = np.zeros((self.count, self.vectors.shape[1]))
        np.add.at(sums, self.clips, self.vectors.astype(np.float64))
        return sums / np.bincount(self.clips, minlength=self.count)[:, None]

    def rows(self, recipe: Recipe) -> NDArray[np.float64]:
        """Return the rows that a distance compares: windows, or means of clips."""
        return self.vectors.astype(np.float64) if recipe.pooling == "windows" else self.clip_means()

    def row_clips(self, recipe: Recipe) -> NDArray[np.int64]:
        """Return the number of the clip of each row."""
        return self.clips if recipe.pooling == "windows" else np.arange(self.count)

    def windows_of(self, clip: int) -> Floats:
        """Return the vectors (windows, d) of a clip."""
        return self.vectors[np.searchsorted(self.clips, clip) : np.searchsorted(self.clips, clip, "right")]


@dataclass(frozen=True)
class _Loaded:
    """A sound that was read: vectors from the cache, windows to embed, or faults."""

    item: SoundItem
    key: str = ""
    cached: tuple[Floats, Counts] | None = None
    prepared: Prepared | None = None
    faults: tuple[str, ...] = ()


def embed_sounds(
    items: Sequence[SoundItem],
    embedder: Embedder,
    recipe: Recipe,
    cache: EmbeddingCache | None = None,
    log: Log = lambda done, total: None,
) -> EmbeddedSet:
    """Embed sounds; those that cannot be read or are unusable become failures. `log` gets clips done and in all."""
    vectors: list[Floats] = []
    filled: list[Counts] = []
    counts: list[int] = []
    ids: list[str] = []
    failures: dict[str, tuple[str, ...]] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    for done, (loaded, found) in enumerate(_embedded(_loaded(items, embedder, recipe, cache), embedder, recipe), 1):
        if found is None:
            failures[loaded.item.id] = loaded.faults
        else:
            ids.append(loaded.item.id)
            vectors.append(found[0])
            filled.append(found[1])
            counts.append(len(found[0]))
            if loaded.faults:
                warnings[loaded.item.id] = loaded.faults
            if cache and not loaded.cached:
                cache.add(loaded.key, *found, notes=loaded.faults)
        log(done, len(items))
    if cache:
        cache.flush()
    return EmbeddedSet(
        np.concatenate(vectors) if vectors else np.zeros((0, embedder.info.dimensions), np.float32),
        np.repeat(np.arange(len(ids)), counts),
        np.concatenate(filled) if filled else np.zeros(0, np.int64),
        tuple(ids),
        failures,
        warnings,
    )


def _loaded(
    items: Iterable[SoundItem], embedder: Embedder, recipe: Recipe, cache: EmbeddingCache | None
) -> Iterator[_Loaded]:
    """Read sounds in threads, in order, a few ahead of the embedder; fewer of them if they are long."""
    cores = count_cores()
    threads = cores.usable if cores else os.cpu_count() or 1
    waiting: deque[tuple[int, Future[_Loaded]]] = deque()
    held, limit = 0, max(DECODED_BYTES, DECODED_SHARE * (free_memory() or 0))
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                size = item.decoded_bytes()
                while waiting and (len(waiting) > LOOKAHEAD * threads or held + size > limit):
                    held -= waiting[0][0]
                    yield waiting.popleft()[1].result()
                waiting.append((size, pool.submit(_load, item, embedder, recipe, cache)))
                held += size
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            for _, future in waiting:
                future.cancel()


def _load(item: SoundItem, embedder: Embedder, recipe: Recipe, cache: EmbeddingCache | None) -> _Loaded:
    try:
        hashes = embedder.info.hash, recipe.embedding_hash
        key = embedding_key(item.content_hash, item.start, item.end, *hashes)
        with _CACHE_LOCK:
            entry = cache.entry(key) if cache else None
        if entry:
            return _Loaded(item, key, cached=(entry.vectors, entry.filled), faults=entry.notes)
        audio, rate = item.read()
        found = faults(audio, rate)
        if UNUSABLE.intersection(found):
            return _Loaded(item, faults=found)
        return _Loaded(item, key, prepared=prepare(audio, rate, embedder.info, recipe), faults=found)
    except AudioError as error:
        return _Loaded(item, faults=(str(error.args[0]),))


def _embedded(
    sounds: Iterable[_Loaded], embedder: Embedder, recipe: Recipe
) -> Iterator[tuple[_Loaded, tuple[Floats, Counts] | None]]:
    """Embed windows in full batches, across clips, and yield clips in order."""
    batch: list[_Loaded] = []
    windows = 0
    for sound in sounds:
        batch.append(sound)
        windows += len(sound.prepared) if sound.prepared is not None else 0
        if windows >= embedder.info.batch or not windows:
            yield from _run(batch, embedder, recipe)
            batch, windows = [], 0
    yield from _run(batch, embedder, recipe)


def _run(
    batch: Sequence[_Loaded], embedder: Embedder, recipe: Recipe
) -> Iterator[tuple[_Loaded, tuple[Floats, Counts] | None]]:
    new = (sound.prepared for sound in batch if sound.prepared is not None)
    vectors = _vectors((window for prepared in new for window in prepared), embedder, recipe)
    position = 0
    for sound in batch:
        if sound.prepared is None:
            yield sound, sound.cached
            continue
        found = vectors[position : position + len(sound.prepared)]
        position += len(found)
        if np.isfinite(found).all():
            yield sound, (found, np.array(sound.prepared.filled, np.int64))
        else:
            yield replace(sound, faults=(*sound.faults, NOT_FINITE)), None


def _vectors(windows: Iterable[Floats], embedder: Embedder, recipe: Recipe) -> Floats:
    parts = [embedder.embed(batch) for batch in batches(windows, embedder.info.batch)]
    vectors = np.concatenate(parts) if parts else np.zeros((0, embedder.info.dimensions), np.float32)
    return vectors.astype(np.float16).astype(np.float32) if recipe.half_precision else vectors
