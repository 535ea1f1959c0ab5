"""One sound of a set: a file, or a cut of it, with what is known about it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundloom.audio.blocks import block_length
from soundloom.audio.formats.limits import max_frames, require_frames
from soundloom.audio.read import UNKNOWN_LENGTH, open_audio_file
from soundloom.errors import AudioError, CorruptFileError, printable, shown

Samples = NDArray[np.float32]

_HASHED_FILES = 1 << 16  # whose hashes are kept


@dataclass(frozen=True)
class SoundItem:
    """A sound, or the part of it from `start` to `end` in seconds; `end` None is the end of the file.

    `caption` says what is heard. `prompt`, `seed` and `seconds` say what a generated clip was generated from.
    """

    id: str
    path: Path
    caption: str = ""
    start: float = 0.0
    end: float | None = None
    prompt: str = ""
    seed: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        end = math.inf if self.end is None else self.end
        if not 0 <= self.start < end or math.isinf(self.start):
            raise CorruptFileError(f"the sound {shown(self.id)} has the cut {self.cut}, which is no range of seconds")

    @property
    def cut(self) -> str:
        """The cut for messages, such as "3-8 s"."""
        return f"{self.start:g}-{'' if self.end is None else f'{self.end:g}'} s"

    @property
    def content_hash(self) -> str:
        """SHA-256 of the bytes of the whole file. Raises AudioError."""
        try:
            state = self.path.stat()
            return _hash(self.path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        except OSError as error:
            raise AudioError(f"{printable(self.path)} cannot be opened: {error.strerror}") from error

    def read(self) -> tuple[Samples, int]:
        """Read the cut alone as float32 (c, n), with the rate in Hz.

        Values may be beyond full scale and not finite. Raises AudioError for files that are missing, damaged, shorter
        than `start`, empty, or too large for memory.
        """
        name = printable(self.path)
        with self.open() as sound:
            limit, samples = max_frames(self.path.stat().st_size, sound.channels), 0
            require_frames(name, sound.claimed, sound.rate, limit)
            audio = np.empty((sound.channels, sound.claimed), np.float32)
            for block in sound.blocks():
                end = samples + block.shape[1]
                require_frames(name, end, sound.rate, limit)
                if end > audio.shape[1]:  # the header states no length, or a wrong one
                    audio = np.pad(audio, ((0, 0), (0, end)))
                audio[:, samples:end] = block
                samples = end
        return (audio if samples == audio.shape[1] else audio[:, :samples].copy()), sound.rate

    @contextmanager
    def open(self) -> Iterator[OpenSound]:
        """Open the cut to read it in blocks, whatever its length. Raises AudioError, also within the block."""
        with open_audio_file(self.path) as (file, _):
            yield OpenSound(self, file)

    def duration(self) -> float:
        """Return the length of the cut in seconds as the header claims it, without decoding. Raises AudioError."""
        with self.open() as sound:
            return sound.claimed / sound.rate

    def decoded_bytes(self) -> int:
        """Return the bytes of the decoded cut as the header claims it; 0 if the file cannot be read."""
        try:
            with self.open() as sound:
                return 4 * sound.claimed * sound.channels
        except AudioError:
            return 0


def prompt_of(id: str, seed: int | None) -> str:
    """Return the id of a clip's prompt: ids of generated clips end with their seed, as in `rain@7`."""
    return id if seed is None else id.removesuffix(f"@{seed}")


class OpenSound:
    """The open file of an item: `rate` in Hz, `channels`, and `claimed`, the samples of the cut by the header."""

    def __init__(self, item: SoundItem, file: soundfile.SoundFile) -> None:
        self._file, self._name, self._cut = file, printable(item.path), item.cut
        self.rate, self.channels = file.samplerate, file.channels
        frames = file.frames if file.frames < UNKNOWN_LENGTH else 0
        self._first = round(item.start * self.rate)
        self._stop = None if item.end is None else max(self._first + 1, round(item.end * self.rate))
        self.claimed = max(0, min(frames, frames if self._stop is None else self._stop) - self._first)

    def blocks(self) -> Iterator[Samples]:
        """Yield all samples of the cut once, in blocks (c, n). Raises AudioError if there are none."""
        position, found = self._seek(), 0
        size = block_length(self.channels)
        while self._stop is None or position < self._stop:
            block = self._file.read(size, dtype="float32", always_2d=True)
            if not len(block):
                break
            inside = block[max(0, self._first - position) : None if self._stop is None else self._stop - position]
            position, found = position + len(block), found + len(inside)
            if len(inside):
                yield inside.T
        if not found:
            length = position / self.rate
            where = f"{self._name} has {length:.2f} s, nothing of {self._cut}" if position else f"{self._name} is empty"
            raise AudioError(where)

    def _seek(self) -> int:
        """Move to the cut, and return the position in samples."""
        # After a seek, MP3 decoders may round the first samples differently.
        if not self._first or self._file.format == "MP3" or not self._first < self._file.frames < UNKNOWN_LENGTH:
            return 0
        position: int = self._file.seek(self._first)
        return position


@lru_cache(maxsize=_HASHED_FILES)
def _hash(path: Path, *_state: int) -> str:
    """Hash a file; its state in the file system makes another entry when it was written again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
