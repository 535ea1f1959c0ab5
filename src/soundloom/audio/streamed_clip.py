"""Clips whose samples stay where they are until they are needed: in a sound file, or in an edit of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

import numpy as np

from soundloom.audio.blocks import Stream, block_length
from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip, hash_of_sound, undamaged
from soundloom.errors import AudioError, RequestError, printable

if TYPE_CHECKING:
    from soundloom.audio.formats.containers import SourceFormat
    from soundloom.audio.formats.file_objects import Readable

# Of these libsndfile finds any sample by its number. It may miss the place by some in MP3, Vorbis and ADPCM.
EXACT_SEEK = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


class BlockReader(Protocol):
    """Sound that is read by span, in blocks of float32 (channels, n) of any n."""

    @property
    def channels(self) -> int: ...

    @property
    def samples(self) -> int: ...

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the samples from `start` to `stop`, both within the sound."""
        ...


@dataclass(frozen=True)
class AudioFile:
    """A sound file on disk, all of whose samples were looked at once, when it was opened."""

    path: Path
    channels: int
    samples: int
    sample_rate: int
    format: SourceFormat
    can_seek: bool
    state: tuple[int, ...]  # by which a change of the file is noticed
    sha256: str  # as of `Clip.sha256`

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a file once from end to end, holding a block at a time.

        Raises AudioError for what `read_audio` refuses: not audio, damaged, without samples, or with values that
        are not numbers.
        """
        from soundloom.audio.files import checked_blocks, open_sound
        from soundloom.audio.formats.containers import SourceFormat

        path = Path(path)
        with open_sound(path) as (file, raw):
            state, lengths = _state(raw), list[int]()
            blocks = _measured(checked_blocks(file, raw, printable(path)), lengths)
            sha256 = hash_of_sound(file.samplerate, file.channels, blocks)
            samples = sum(lengths)
            can_seek = file.seekable() and file.subtype in EXACT_SEEK and samples == file.frames
            kind = SourceFormat(file.format, file.subtype)
            return cls(path, file.channels, samples, file.samplerate, kind, can_seek, state, sha256)

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield a span in blocks; what cannot be found by its number is found by reading up to it.

        Raises AudioError when the file has changed.
        """
        from soundloom.audio.files import open_sound

        with open_sound(self.path) as (file, raw):
            position = start if self.can_seek else 0
            if _state(raw) != self.state or (position and file.seek(position) != position):
                raise self._changed()
            while position < stop:
                length = min(block_length(self.channels), stop - position)
                block = file.read(length, dtype="float32", always_2d=True).T
                if not block.shape[1]:
                    raise self._changed()
                if position + block.shape[1] > start:
                    yield block[:, max(0, start - position) :]
                position += block.shape[1]

    def _changed(self) -> AudioError:
        return AudioError(
            f"{printable(self.path)} has changed since it was opened", "edit it when nothing else writes to it"
        )


class PatchedAudio:
    """A source with new sound laid over it. The source begins at `offset`; around it there is silence."""

    def __init__(self, source: Clip, channels: int, samples: int, offset: int) -> None:
        self.channels, self.samples = channels, samples
        self._source, self._offset = source, offset
        self._patches: list[tuple[int, np.ndarray]] = []

    def lay(self, start: int, audio: np.ndarray) -> None:
        """Put new sound (channels, n) in the place of what was there."""
        self._patches.append((start, audio))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples `(channels, stop - start)`, a copy."""
        return read_span(self, start, stop)

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield a span in blocks, which are copies."""
        for block in self._source_blocks(start, stop):
            self._patch(block, start)
            yield block
            start += block.shape[1]

    def _source_blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield copies of a span of the source and of the silence around it."""
        first = min(max(start, self._offset), stop)
        last = max(first, min(stop, self._offset + self._source.samples))
        yield from self._silence(first - start)
        for block in self._source.blocks(first - self._offset, last - self._offset) if first < last else ():
            yield block[: self.channels].copy()
        yield from self._silence(stop - last)

    def _silence(self, samples: int) -> Iterator[np.ndarray]:
        length = block_length(self.channels)
        for start in range(0, samples, length):
            yield np.zeros((self.channels, min(length, samples - start)), np.float32)

    def _patch(self, block: np.ndarray, start: int) -> None:
        """Write into a block that begins at `start` what was made there; later patches cover earlier ones."""
        stop = start + block.shape[1]
        for place, audio in self._patches:
            first, last = max(start, place), min(stop, place + audio.shape[1])
            if first < last:
                block[:, first - start : last - start] = audio[:, first - place : last - place]


@dataclass(frozen=True)
class _Mixed:
    """Sound with another number of channels."""

    reader: BlockReader
    channels: int

    @property
    def samples(self) -> int:
        return self.reader.samples

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        return (to_channels(block, self.channels) for block in self.reader.blocks(start, stop))


class StreamedClip(Clip):
    """A clip of any length whose samples are read when they are needed; `audio` reads all of them into memory.

    It is the samples from `start` to `stop` of its reader. `dataclasses.replace` is not for it: see `cut`, `mixed`
    and `with_record`.
    """

    _reader: BlockReader
    _span: tuple[int, int]
    _sha256: str | None  # found when it is first asked for; the samples never change

    def __init__(
        self,
        reader: BlockReader,
        sample_rate: int,
        record: Mapping[str, Any] | None = None,
        source_format: SourceFormat | None = None,
        name: str = "",
        span: tuple[int, int] | None = None,
    ) -> None:
        values = {
            "_reader": reader,
            "_span": span or (0, reader.samples),
            "_sha256": None,
            "sample_rate": sample_rate,
            "record": record or {},
            "source_format": source_format,
            "name": name,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)  # clips are frozen

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Do as `Clip.load`, and leave the samples in the file."""
        from soundloom.audio.metadata import read_record

        path = Path(path)
        file, record = AudioFile.open(path), undamaged(lambda: read_record(path))
        return cls(file, file.sample_rate, record, file.format, printable(file.path.name))

    @classmethod
    def load(cls, path: str | PathLike[str] | Readable) -> Self:
        """Do as `open`. Raises RequestError for a file object, whose samples cannot stay where they are."""
        if not isinstance(path, str | PathLike):
            raise RequestError("a StreamedClip is opened by the path of a sound file", "Clip.load takes file objects")
        return cls.open(path)

    def sha256(self) -> str:
        found, reader = self._sha256, self._reader
        if found is None:
            if isinstance(reader, AudioFile) and self._span == (0, reader.samples):
                found = reader.sha256
            else:
                found = super().sha256()
            object.__setattr__(self, "_sha256", found)
        return found

    def loaded(self) -> Clip:
        """Return the clip in memory."""
        return Clip(self.audio, self.sample_rate, self.record, self.source_format, self.name)

    @property
    def audio(self) -> np.ndarray:
        return self.read(0, self.samples)

    @property
    def channels(self) -> int:
        return self._reader.channels

    @property
    def samples(self) -> int:
        return self._span[1] - self._span[0]

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        return self._reader.blocks(*self._within(start, stop))

    def read(self, start: int, stop: int) -> np.ndarray:
        return read_span(self._reader, *self._within(start, stop))

    def cut(self, start: int, stop: int) -> Clip:
        return self._changed(span=self._within(start, stop))

    def _within(self, start: int, stop: int) -> tuple[int, int]:
        """The span of the reader that a slice of these samples means, by the rules of arrays."""
        first, last, _ = slice(start, stop).indices(self.samples)
        return self._span[0] + first, self._span[0] + max(first, last)

    def mixed(self, channels: int) -> Clip:
        return self._changed(reader=_Mixed(self._reader, channels))

    def with_record(self, record: Mapping[str, Any]) -> Clip:
        return self._changed(record=record)

    def _changed(self, **changes: Any) -> StreamedClip:
        fields = ("sample_rate", "record", "source_format", "name")
        values = {"reader": self._reader, "span": self._span, **{field: getattr(self, field) for field in fields}}
        return StreamedClip(**values | changes)

    def stream(self, rate: int | None = None) -> Stream:
        whole = Stream(self.channels, self.samples, lambda: self.blocks(0, self.samples))
        return whole.resampled(self.sample_rate, self.sample_rate if rate is None else rate)


def read_span(reader: BlockReader, start: int, stop: int) -> np.ndarray:
    """Return a span `(channels, stop - start)` of what is read in blocks."""
    out, filled = np.empty((reader.channels, stop - start), np.float32), 0
    for block in reader.blocks(start, stop):
        out[:, filled : filled + block.shape[1]] = block
        filled += block.shape[1]
    return out


def _measured(blocks: Iterable[np.ndarray], lengths: list[int]) -> Iterator[np.ndarray]:
    """Yield blocks as they are, and note how long each is."""
    for block in blocks:
        lengths.append(block.shape[1])
        yield block


def _state(file: BinaryIO) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns
