"""A dataset of sound to a dataset of latents: each sound once, however often it is asked for.

Nothing keeps a list of what is done: every stored item says the hash of the sound and of the weights that made it, and
what agrees with both is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.clip import Clip
from soundloom.datasets.captions import captions_of
from soundloom.datasets.fidelity import COMPARED_SOUNDS, Codec
from soundloom.datasets.items import Dataset, Entry, Item, Selection, Skipped, Unreadable
from soundloom.datasets.latents import LatentFile, LatentFolder, latent_metadata, read_silence, write_silence
from soundloom.errors import CorruptFileError, SoundloomError

SOUND_HASH, MODEL_HASH = "sound_hash", "model_hash"
SILENCE_FRAMES = 32


class Writer(Protocol):
    """Where latents go; `known` has the metadata of what is there, by the origin of the sound."""

    root: Path
    known: dict[str, dict[str, Any]]

    def write(self, metadata: dict[str, Any], latents: NDArray | None) -> None: ...

    def close(self) -> None: ...


@dataclass
class Summary:
    """What became of each entry."""

    encoded: int = 0
    described: int = 0  # the sound is the same, what is said about it has changed
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    uncaptioned: int = 0
    orphaned: int = 0  # stored items whose sound is not in the dataset any more
    differences: list[float] = field(default_factory=list)  # dB, of the first that were decoded again: see `fidelity`

    @property
    def stored(self) -> int:
        return self.encoded + self.described + self.unchanged


@dataclass(frozen=True)
class EncodedSound(LatentFile):
    """Latents under the name of the sound that they were made of."""

    sound: str

    @property
    def origin(self) -> str:
        return self.sound


class EncodedSounds:
    """What `encode_dataset` has left in a folder, of the sounds that the dataset still has."""

    def __init__(self, encoded: LatentFolder, dataset: Dataset) -> None:
        self.encoded, self.dataset = encoded, dataset

    def entries(self) -> Iterator[LatentFile | Unreadable]:
        origins = {entry.origin for entry in self.dataset.entries()}
        for file in self.encoded.entries():
            try:
                sound = str(file.describe().get("relpath"))
            except CorruptFileError as error:
                yield Unreadable(file.origin, error)
                continue
            if sound in origins:
                yield EncodedSound(file.root, file.path, sound)


def encode_dataset(
    dataset: Dataset,
    writer: Writer,
    codec: Codec,
    selection: Selection,
    progress: Callable[[Summary], None] = lambda summary: None,
) -> Summary:
    """Encode what is new or changed. Sounds that cannot be read, or that the selection refuses, are skipped.

    What was written stays when the work is stopped; the next run goes on from there.
    """
    summary, seen = Summary(), set()
    try:
        for entry in dataset.entries():
            seen.add(entry.origin)
            if selection.takes_origin(entry.origin):
                _encode_entry(entry, writer, codec, selection, summary)
                progress(summary)
    finally:
        writer.close()
    if summary.encoded or (summary.stored and read_silence(writer.root) is None):  # a killed run has left none
        write_silence(writer.root, encoded_silence(codec))
    summary.orphaned = len(writer.known.keys() - seen)
    return summary


def _encode_entry(entry: Entry, writer: Writer, codec: Codec, selection: Selection, summary: Summary) -> None:
    try:
        hashes = {SOUND_HASH: entry.fingerprint(), MODEL_HASH: codec.fingerprint}
        stored = writer.known.get(entry.origin, {})
        is_current = all(stored.get(name) == value for name, value in hashes.items()) and _has_length(stored)
        item = _described(entry, stored["seconds"]) if is_current else entry.read()
    except SoundloomError as error:
        summary.skipped.append(Skipped(entry.origin, error.args[0]))
        return
    if refusal := selection.refusal(item) or ("holds latents, not sound" if item.latents is not None else ""):
        summary.skipped.append(Skipped(entry.origin, refusal))
        return
    metadata = _metadata(item, codec, hashes)
    if metadata == stored:
        summary.unchanged += 1
    elif is_current:
        writer.write(metadata, None)
        summary.described += 1
    else:
        try:
            latents, difference = _encode(item, codec), _difference(item, codec, summary)
        except SoundloomError as error:  # which other sounds need not have
            summary.skipped.append(Skipped(entry.origin, error.args[0]))
            return
        writer.write(metadata, latents)
        summary.encoded += 1
        summary.differences += [] if math.isnan(difference) else [round(difference, 2)]
    summary.uncaptioned += not item.captions


def _difference(item: Item, codec: Codec, summary: Summary) -> float:
    """How far a sound is from what is decoded of it, in dB; NaN once enough sounds were compared."""
    assert item.audio is not None
    is_enough = len(summary.differences) >= COMPARED_SOUNDS
    return math.nan if is_enough else codec.difference(item.audio, item.sample_rate)


def _has_length(stored: Mapping[str, Any]) -> bool:
    return isinstance(stored.get("seconds"), int | float)


def _described(entry: Entry, seconds: float) -> Item:
    """What is said about a sound that need not be read again."""
    metadata = entry.describe()
    return Item(entry.origin, captions_of(metadata, entry.origin), seconds, metadata=metadata)


def _metadata(item: Item, codec: Codec, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The published fields, the hashes, and the fields of the library, which may not hide the former."""
    own = {**latent_metadata(item, _frames(item, codec), codec.sample_rate), **hashes}
    return {**item.metadata, **own}


def _frames(item: Item, codec: Codec) -> int:
    """Frames that hold sound."""
    return max(1, -(-round(item.seconds * codec.sample_rate) // codec.ratio))


def _encode(item: Item, codec: Codec) -> NDArray:
    assert item.audio is not None
    return codec.encode(Clip(item.audio, item.sample_rate))[:, : _frames(item, codec)]


def encoded_silence(codec: Codec) -> NDArray:
    """Latents (channels, frames) to stand behind short items."""
    return codec.encode(Clip(np.zeros((2, SILENCE_FRAMES * codec.ratio), np.float32), codec.sample_rate))
