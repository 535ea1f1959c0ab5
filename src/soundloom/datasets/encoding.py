"""Encode a dataset of sounds into a dataset of latents, incrementally.

There is no list of finished work: each stored example has the hashes of its sound and of the encoder's weights, and is
skipped when both match.
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
from soundloom.datasets.examples import Dataset, Example, FileEntry, Selection, Skipped, Unreadable
from soundloom.datasets.fidelity import COMPARED_CLIPS, Codec
from soundloom.datasets.latents import LatentFile, LatentFolder, latent_metadata, read_silence, write_silence
from soundloom.errors import CorruptFileError, SoundloomError

SOUND_HASH, MODEL_HASH = "sound_hash", "model_hash"
SILENCE_FRAMES = 32


class Writer(Protocol):
    """Stores latents; `known` maps the origin of each stored sound to its metadata."""

    root: Path
    known: dict[str, dict[str, Any]]

    def write(self, metadata: dict[str, Any], latents: NDArray | None) -> None: ...

    def close(self) -> None: ...


@dataclass
class Summary:
    """Counts of what happened to the entries."""

    encoded: int = 0
    described: int = 0  # same sound, new metadata
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    uncaptioned: int = 0
    orphaned: int = 0  # stored examples whose sound is no longer in the dataset
    differences: list[float] = field(default_factory=list)  # dB, of the first sounds, see `fidelity`

    @property
    def stored(self) -> int:
        return self.encoded + self.described + self.unchanged


@dataclass(frozen=True)
class EncodedSound(LatentFile):
    """Latents that have the origin of the sound they encode."""

    sound: str

    @property
    def origin(self) -> str:
        return self.sound


class EncodedSounds:
    """Latents written by `encode_dataset`, restricted to sounds that the dataset still has."""

    def __init__(self, encoded: LatentFolder, dataset: Dataset) -> None:
        self.encoded, self.dataset = encoded, dataset

    def entries(self) -> Iterator[LatentFile | Unreadable]:
        origins = {entry.origin for entry in self.dataset.entries()}
        for file in self.encoded.entries():
            try:
                sound = str(file.read_metadata().get("relpath"))
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
    """Encode new and changed sounds; skip those that cannot be read or that the selection rejects.

    An interrupted run keeps what it wrote, and the next run continues from there.
    """
    summary, seen = Summary(), set()
    try:
        for entry in dataset.entries():
            seen.add(entry.origin)
            if selection.accepts_origin(entry.origin):
                _encode_entry(entry, writer, codec, selection, summary)
                progress(summary)
    finally:
        writer.close()
    if summary.encoded or (summary.stored and read_silence(writer.root) is None):  # a killed run wrote none
        write_silence(writer.root, encoded_silence(codec))
    summary.orphaned = len(writer.known.keys() - seen)
    return summary


def _encode_entry(entry: FileEntry, writer: Writer, codec: Codec, selection: Selection, summary: Summary) -> None:
    try:
        hashes = {SOUND_HASH: entry.fingerprint(), MODEL_HASH: codec.fingerprint}
        stored = writer.known.get(entry.origin, {})
        is_current = all(stored.get(name) == value for name, value in hashes.items()) and _has_length(stored)
        example = _without_audio(entry, stored["seconds"]) if is_current else entry.read()
    except SoundloomError as error:
        summary.skipped.append(Skipped(entry.origin, error.args[0]))
        return
    if reason := selection.rejection(example) or ("holds latents, not sound" if example.latents is not None else ""):
        summary.skipped.append(Skipped(entry.origin, reason))
        return
    metadata = _metadata(example, codec, hashes)
    if metadata == stored:
        summary.unchanged += 1
    elif is_current:
        writer.write(metadata, None)
        summary.described += 1
    else:
        try:
            latents, difference = _encode(example, codec), _difference(example, codec, summary)
        except SoundloomError as error:  # other sounds may still work
            summary.skipped.append(Skipped(entry.origin, error.args[0]))
            return
        writer.write(metadata, latents)
        summary.encoded += 1
        summary.differences += [] if math.isnan(difference) else [round(difference, 2)]
    summary.uncaptioned += not example.captions


def _difference(example: Example, codec: Codec, summary: Summary) -> float:
    """Return the log-mel difference of a sound and its reconstruction in dB; NaN once enough sounds were compared."""
    assert example.audio is not None
    is_enough = len(summary.differences) >= COMPARED_CLIPS
    return math.nan if is_enough else codec.difference(example.audio, example.sample_rate)


def _has_length(stored: Mapping[str, Any]) -> bool:
    return isinstance(stored.get("seconds"), int | float)


def _without_audio(entry: FileEntry, seconds: float) -> Example:
    metadata = entry.read_metadata()
    return Example(entry.origin, captions_of(metadata, entry.origin), seconds, metadata=metadata)


def _metadata(example: Example, codec: Codec, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Return the published fields and the hashes, which take precedence, and the library's own fields."""
    own = {**latent_metadata(example, _frames(example, codec), codec.sample_rate), **hashes}
    return {**example.metadata, **own}


def _frames(example: Example, codec: Codec) -> int:
    return max(1, -(-round(example.seconds * codec.sample_rate) // codec.ratio))


def _encode(example: Example, codec: Codec) -> NDArray:
    assert example.audio is not None
    return codec.encode(Clip(example.audio, example.sample_rate))[:, : _frames(example, codec)]


def encoded_silence(codec: Codec) -> NDArray:
    """Latents (channels, frames) of silence, to pad short examples."""
    return codec.encode(Clip(np.zeros((2, SILENCE_FRAMES * codec.ratio), np.float32), codec.sample_rate))
