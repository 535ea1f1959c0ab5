"""Read every audio format that libsndfile supports."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from soundloom.audio.blocks import block_length
from soundloom.audio.formats.chunks import describe_truncation
from soundloom.audio.formats.containers import SourceFormat
from soundloom.audio.formats.limits import max_frames, max_streamed_frames, require_frames
from soundloom.audio.resample import require_rate
from soundloom.errors import AudioError, printable, shown

log = logging.getLogger(__name__)

UNKNOWN_LENGTH = 2**56  # samples; libsndfile reports more if it does not know the length


def read_audio(path: str | Path) -> tuple[np.ndarray, int, SourceFormat]:
    """Read a file as float32 `(channels, samples)`, with its sample rate and format.

    Raises AudioError for files that are missing, not audio, damaged, too large for memory or empty, and for invalid
    sample rates and values that are not finite. A truncated file is read to its end, with a warning.
    """
    path = Path(path)
    name = printable(path)
    try:
        with path.open("rb") as raw:
            return decode(raw, name, path)
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}", "give the path of an audio file") from error


def decode(raw: BinaryIO, name: str, path: Path | None = None) -> tuple[np.ndarray, int, SourceFormat]:
    """Decode an open, seekable file as `read_audio` does; `path` is its path, if it has one."""
    size, missing = _size(raw, name), describe_truncation(raw)
    with _open_decoder(raw, name, path) as file:
        audio, claimed = _samples(file, size, name), file.frames
        rate, source = file.samplerate, SourceFormat(file.format, file.subtype)
    _check_complete(name, audio.shape[1], claimed, missing)
    require_finite(audio, name)
    return audio, rate, source


@contextmanager
def open_audio_file(path: Path) -> Iterator[tuple[soundfile.SoundFile, BinaryIO]]:
    """Open an audio file for reading, as audio and as bytes. Decoding errors in the block become AudioError."""
    name = printable(path)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}", "give the path of an audio file") from error
    with raw, _open_decoder(raw, name, path) as file:
        yield file, raw


@contextmanager
def _open_decoder(raw: BinaryIO, name: str, path: Path | None) -> Iterator[soundfile.SoundFile]:
    """Open a file as audio, by its path if it has one."""
    _size(raw, name)
    raw.seek(0)
    try:
        with soundfile.SoundFile(_SeekableFile(raw) if path is None else _encoded_path(path)) as file:
            require_rate(file.samplerate, name)
            yield file
    except TypeError as error:  # soundfile requires rate and format for .raw files
        raise AudioError(f"{name} has no header with rate and format", "convert it to WAV") from error
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{name} cannot be read as audio: {error_reason(error)}", "check that it is a complete audio file"
        ) from error


def _size(raw: BinaryIO, name: str) -> int:
    """Return the size of an open file in bytes. Raises AudioError for empty files and pipes."""
    if not raw.seekable():
        raise AudioError(f"{name} is a pipe, but audio must be in a file", "save it to a file first")
    if not (size := raw.seek(0, os.SEEK_END)):
        raise AudioError(f"{name} is empty (0 bytes)")
    return size


def _encoded_path(path: Path) -> str | bytes:
    """Encode a path for soundfile, which does not support names that are not Unicode."""
    return str(path) if os.name == "nt" else os.fsencode(path)


class _SeekableFile:
    """A file for libsndfile's callbacks, where exceptions would be printed and ignored."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell, self.read = file.tell, file.read

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (ValueError, OSError):  # a damaged header may give a negative offset
            return self._file.tell()


def _samples(file: soundfile.SoundFile, size: int, name: str) -> np.ndarray:
    """Decode all samples `(channels, n)` of a file of `size` bytes. Raises AudioError if they exceed the memory limit.

    The length in the header may be unknown or wrong.
    """
    limit = max_frames(size, file.channels)
    is_known = file.frames < UNKNOWN_LENGTH
    if is_known:
        require_frames(name, file.frames, file.samplerate, limit)
    else:
        limit //= 2  # growing an array copies it
    audio = np.empty((file.channels, file.frames if is_known else 0), np.float32)
    block, done = block_length(file.channels), 0
    while len(piece := file.read(block, dtype="float32", always_2d=True)):
        done += len(piece)
        if done > audio.shape[1]:
            require_frames(name, done, file.samplerate, limit)
            audio = np.concatenate([audio, np.empty((file.channels, max(done, audio.shape[1])), np.float32)], axis=1)
        audio[:, done - len(piece) : done] = piece.T
    return audio if done == audio.shape[1] else audio[:, :done].copy()


def read_blocks(file: soundfile.SoundFile, raw: BinaryIO, name: str) -> Iterator[np.ndarray]:
    """Yield all samples of a file from `open_audio_file` in blocks (channels, n).

    Raises AudioError for empty files, values that are not finite, and far more samples than the file size suggests.
    Warns about truncated files.
    """
    size, missing, samples = raw.seek(0, os.SEEK_END), describe_truncation(raw), 0
    limit = max_streamed_frames(size, file.channels)
    if file.frames < UNKNOWN_LENGTH:
        require_frames(name, file.frames, file.samplerate, limit)
    while len(block := file.read(block_length(file.channels), dtype="float32", always_2d=True)):
        require_finite(block.T, name, samples)
        samples += len(block)
        require_frames(name, samples, file.samplerate, limit)
        yield block.T
    _check_complete(name, samples, file.frames, missing)


def _check_complete(name: str, samples: int, claimed: int, missing: str) -> None:
    """Raise AudioError if a file has no samples; warn if it has fewer than its header claims."""
    if not samples:
        raise AudioError(f"{name} has no samples")
    if samples < claimed < UNKNOWN_LENGTH:
        log.warning("%s is truncated: it has %d of %d samples", name, samples, claimed)
    elif missing:
        log.warning("%s is truncated: %s", name, missing)


def require_finite(audio: np.ndarray, name: str, start: int = 0) -> None:
    if np.isfinite(audio).all():
        return
    bad = ~np.isfinite(audio)
    first = start + int(bad.any(axis=0).argmax())
    count = np.count_nonzero(bad)
    raise AudioError(f"{name} has {count} values that are not finite, the first at sample {first}")


def error_reason(error: soundfile.SoundFileError) -> str:
    reason = getattr(error, "error_string", str(error)).rstrip(".")
    return shown(reason) if reason else "it is damaged"
