"""Clips that read their samples on demand, from an audio file or an edit of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

import numpy as np

from soundloom.audio.blocks import Stream, block_length
from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip, hash_audio, record_or_empty
from soundloom.audio.shaping import faded
from soundloom.errors import AudioError, RequestError, printable

if TYPE_CHECKING:
    from soundloom.audio.formats.containers import SourceFormat
    from soundloom.audio.formats.file_objects import Readable

# Subtypes in which libsndfile seeks exactly. In MP3, Vorbis and ADPCM it may be off by some samples.
EXACT_SEEK = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


class BlockReader(Protocol):
    """Audio that can be read by span, in blocks of float32 (channels, n) of any n."""

    @property
    def channels(self) -> int: ...

    @property
    def samples(self) -> int: ...

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the samples from `start` to `stop`, which must be in range."""
        ...


@dataclass(frozen=True)
class AudioFile:
    """An audio file on disk, whose samples were all checked when it was opened."""

    path: Path
    channels: int
    samples: int
    sample_rate: int
    format: SourceFormat
    can_seek: bool
    state: tuple[int, ...]  # identifies the version of the file
    sha256: str  # as in `Clip.sha256`

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read and check a file once, with one block in memory at a time. Raises AudioError as `read_audio` does."""
        from soundloom.audio.formats.containers import SourceFormat
        from soundloom.audio.read import open_audio_file, read_blocks

        path = Path(path)
        with open_audio_file(path) as (file, raw):
            state, lengths = _state(raw), list[int]()
            blocks = _measured(read_blocks(file, raw, printable(path)), lengths)
            sha256 = hash_audio(file.samplerate, file.channels, blocks)
            samples = sum(lengths)
            can_seek = file.seekable() and file.subtype in EXACT_SEEK and samples == file.frames
            kind = SourceFormat(file.format, file.subtype)
            return cls(path, file.channels, samples, file.samplerate, kind, can_seek, state, sha256)

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield a span in blocks; formats without exact seeking are decoded from the start.

        Raises AudioError if the file has changed.
        """
        from soundloom.audio.read import open_audio_file

        with open_audio_file(self.path) as (file, raw):
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
            f"{printable(self.path)} has changed since it was opened", "edit it while no other program writes to it"
        )


class PatchedAudio:
    """A source with generated patches. The source starts at `offset`, with silence around it."""

    def __init__(self, source: Clip, channels: int, samples: int, offset: int) -> None:
        self.channels, self.samples = channels, samples
        self._source, self._offset = source, offset
        self._patches: list[tuple[int, np.ndarray]] = []

    def lay(self, start: int, audio: np.ndarray) -> None:
        """Replace samples from `start` by generated audio (channels, n)."""
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
        """Yield copies of a span of the source and the silence around it."""
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
        """Apply patches to a block that begins at `start`; later patches override earlier ones."""
        stop = start + block.shape[1]
        for place, audio in self._patches:
            first, last = max(start, place), min(stop, place + audio.shape[1])
            if first < last:
                block[:, first - start : last - start] = audio[:, first - place : last - place]


@dataclass(frozen=True)
class _Changed:
    """Audio of which `change` alters each block, given the block and its first sample."""

    reader: BlockReader
    channels: int
    change: Callable[[np.ndarray, int], np.ndarray]

    @property
    def samples(self) -> int:
        return self.reader.samples

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for block in self.reader.blocks(start, stop):
            yield self.change(block, start)
            start += block.shape[1]


class StreamedClip(Clip):
    """A clip of any length that reads its samples on demand; `audio` reads all of them into memory.

    Use `cut`, `mixed` and `with_record` instead of `dataclasses.replace`.
    """

    _reader: BlockReader
    _span: tuple[int, int]
    _sha256: str | None  # computed once; the samples never change

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
        """Open an audio file like `Clip.load`, but leave the samples in the file."""
        from soundloom.audio.metadata import read_record

        path = Path(path)
        file, record = AudioFile.open(path), record_or_empty(lambda: read_record(path))
        return cls(file, file.sample_rate, record, file.format, printable(file.path.name))

    @classmethod
    def load(cls, path: str | PathLike[str] | Readable) -> Self:
        """Do the same as `open`. Raises RequestError for file objects, which may not support later reads."""
        if not isinstance(path, str | PathLike):
            raise RequestError("a StreamedClip needs the path of an audio file", "use Clip.load for file objects")
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

    @property
    def path(self) -> Path | None:
        """The file that the samples are read from, or None for an edit of one."""
        reader = self._reader
        while isinstance(reader, _Changed):
            reader = reader.reader
        return reader.path if isinstance(reader, AudioFile) else None

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
        """Return the reader's span for a slice of this clip, with the rules of array slices."""
        first, last, _ = slice(start, stop).indices(self.samples)
        return self._span[0] + first, self._span[0] + max(first, last)

    def mixed(self, channels: int) -> Clip:
        return self._changed(reader=_Changed(self._reader, channels, lambda block, _: to_channels(block, channels)))

    def _with_fades(self, fade_in: int, fade_out: int) -> Clip:
        first, samples = self._span[0], self.samples

        def fade(block: np.ndarray, start: int) -> np.ndarray:
            return faded(block, start - first, samples, fade_in, fade_out)

        return self._changed(reader=_Changed(self._reader, self.channels, fade))

    def with_record(self, record: Mapping[str, Any]) -> Clip:
        return self._changed(record=record)

    def _changed(self, **changes: Any) -> StreamedClip:
        fields = ("sample_rate", "record", "source_format", "name")
        values = {"reader": self._reader, "span": self._span, **{field: getattr(self, field) for field in fields}}
        return StreamedClip(**values | changes)

    def _stream(self, rate: int) -> Stream:
        stream = Stream(self.channels, self.samples, lambda: self.blocks(0, self.samples))
        return stream.resampled(self.sample_rate, rate)


def read_span(reader: BlockReader, start: int, stop: int) -> np.ndarray:
    """Return a span `(channels, stop - start)` of a reader."""
    out, filled = np.empty((reader.channels, stop - start), np.float32), 0
    for block in reader.blocks(start, stop):
        out[:, filled : filled + block.shape[1]] = block
        filled += block.shape[1]
    return out


def _measured(blocks: Iterable[np.ndarray], lengths: list[int]) -> Iterator[np.ndarray]:
    """Yield blocks unchanged, and append their lengths to `lengths`."""
    for block in blocks:
        lengths.append(block.shape[1])
        yield block


def _state(file: BinaryIO) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns
