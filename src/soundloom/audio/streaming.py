"""Clips whose samples stay where they are until they are needed: in a sound file, or in an edit of one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.audio.stream import Stream, block_length
from soundloom.errors import AudioError

if TYPE_CHECKING:
    from soundloom.audio.files import SourceFormat

log = logging.getLogger(__name__)

# Of these libsndfile finds any sample by its number. It may miss the place by some in MP3, Vorbis and ADPCM.
EXACT_SEEK = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


class AudioReader(Protocol):
    """Sound as float32 that is read by span, or from its beginning in blocks (channels, n) of any n."""

    @property
    def channels(self) -> int: ...

    @property
    def samples(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples `(channels, stop - start)`."""
        ...

    def blocks(self) -> Iterator[np.ndarray]: ...


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

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a file once from end to end, holding a block at a time.

        Raises AudioError for what `read_audio` refuses: not audio, damaged, without samples, or with values that
        are not numbers.
        """
        from soundloom.audio.files import SourceFormat, checked_blocks, open_sound

        path = Path(path)
        with open_sound(path) as file:
            state = _state(path)
            samples = sum(block.shape[1] for block in checked_blocks(file, str(path)))
            can_seek = file.seekable() and file.subtype in EXACT_SEEK and samples == file.frames
            kind = SourceFormat(file.format, file.subtype)
            return cls(path, file.channels, samples, file.samplerate, kind, can_seek, state)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples `(channels, stop - start)`; raises AudioError when the file has changed."""
        out, filled = np.empty((self.channels, stop - start), np.float32), 0
        for block in self._blocks(start, stop):
            out[:, filled : filled + block.shape[1]] = block
            filled += block.shape[1]
        return out

    def blocks(self) -> Iterator[np.ndarray]:
        return self._blocks(0, self.samples)

    def _blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield a span in blocks; what cannot be found by its number is found by reading up to it."""
        from soundloom.audio.files import open_sound

        with open_sound(self.path) as file:
            position = start if self.can_seek else 0
            if _state(self.path) != self.state or (position and file.seek(position) != position):
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
        return AudioError(f"{self.path} has changed since it was opened", "edit it when nothing else writes to it")


class StreamedClip(Clip):
    """A clip of any length whose samples are read when they are needed; `audio` reads all of them into memory."""

    _reader: AudioReader
    _samples: int

    def __init__(
        self,
        reader: AudioReader,
        sample_rate: int,
        record: Mapping[str, Any] | None = None,
        source_format: SourceFormat | None = None,
        samples: int | None = None,
    ) -> None:
        values = {
            "_reader": reader,
            "_samples": reader.samples if samples is None else min(samples, reader.samples),
            "sample_rate": sample_rate,
            "record": record or {},
            "source_format": source_format,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # clips are frozen

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Do as `Clip.load`, and leave the samples in the file."""
        from soundloom.audio.metadata import read_record

        file = AudioFile.open(path)
        try:
            record = read_record(path) or {}
        except AudioError as error:  # damaged tags are no reason to refuse the sound
            log.warning("%s", error)
            record = {}
        return cls(file, file.sample_rate, record, file.format)

    def loaded(self) -> Clip:
        """Return the clip in memory."""
        return Clip(self.audio, self.sample_rate, self.record, self.source_format)

    @property
    def audio(self) -> np.ndarray:
        return self.read(0, self.samples)

    @property
    def channels(self) -> int:
        return self._reader.channels

    @property
    def samples(self) -> int:
        return self._samples

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._reader.read(start, min(stop, self.samples))

    def first(self, samples: int) -> Clip:
        return StreamedClip(self._reader, self.sample_rate, self.record, self.source_format, samples)

    def stream(self, rate: int | None = None) -> Stream:
        whole = Stream(self.channels, self._reader.samples, self._reader.blocks)
        return whole.first(self.samples).resampled(self.sample_rate, self.sample_rate if rate is None else rate)


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
        out = np.zeros((self.channels, stop - start), np.float32)
        first, last = max(start, self._offset), min(stop, self._offset + self._source.samples)
        if first < last:
            kept = self._source.read(first - self._offset, last - self._offset)
            out[:, first - start : last - start] = kept[: self.channels]
        return self._patch(out, start)

    def blocks(self) -> Iterator[np.ndarray]:
        yield from (self._patch(block, start) for block, start in self._silence(0, self._offset))
        position = self._offset
        for block in self._source.stream().blocks():
            yield self._patch(block[: self.channels].copy(), position)
            position += block.shape[1]
        yield from (self._patch(block, start) for block, start in self._silence(position, self.samples))

    def _silence(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, int]]:
        length = block_length(self.channels)
        for first in range(start, stop, length):
            yield np.zeros((self.channels, min(length, stop - first)), np.float32), first

    def _patch(self, out: np.ndarray, start: int) -> np.ndarray:
        """Lay over a span that starts at `start` what was made there, in place; later patches cover earlier ones."""
        stop = start + out.shape[1]
        for place, audio in self._patches:
            first, last = max(start, place), min(stop, place + audio.shape[1])
            if first < last:
                out[:, first - start : last - start] = audio[:, first - place : last - place]
        return out


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
