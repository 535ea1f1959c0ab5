"""Read every sound format that libsndfile knows; write WAV, FLAC, OGG and MP3, whole or not at all.

Samples of 16 and 24 bit files are exact in float32, and libsndfile converts them back to the same integers,
so reading and writing in the same depth changes no bit. Nothing is ever dithered.
"""

import io
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import soundfile

from soundloom.atomic import atomic_path, write_errors
from soundloom.audio.blocks import BLOCK, Stream, as_stream, block_length
from soundloom.audio.formats.chunks import what_is_missing
from soundloom.audio.formats.containers import SourceFormat, container_of
from soundloom.audio.formats.limits import most_frames, most_streamed_frames, require_frames
from soundloom.audio.metadata import write_record
from soundloom.audio.resample import require_rate
from soundloom.errors import AudioError, printable, shown

log = logging.getLogger(__name__)

UNKNOWN_LENGTH = 2**56  # samples; libsndfile gives more where it cannot tell
LARGEST_WAV = 2**32 - 2**24  # bytes; sizes in a WAV file are 32 bit, the rest is room for tags
LOSSY_COMPRESSION = 0.1  # near the best that MP3 and Vorbis have (0): about 200 and 330 kbit/s in stereo

Peak = Literal["safe", "clip"]


def read_audio(path: str | Path) -> tuple[np.ndarray, int, SourceFormat]:
    """Read a file as float32 `(channels, samples)`, with its sample rate and format.

    Raises AudioError when there is no such file, it is not audio, is damaged, has a rate that no sound has, would take
    too much memory, has no samples or has some that are not numbers. A file that ends early is read to its end, with a
    warning.
    """
    path = Path(path)
    name = printable(path)
    try:
        with path.open("rb") as raw:
            return decode(raw, name, path)
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}", "name a sound file") from error


def decode(raw: BinaryIO, name: str, path: Path | None = None) -> tuple[np.ndarray, int, SourceFormat]:
    """Do as `read_audio` for an opened file that can seek; `path` is where it is, if it is a file on disk."""
    size, missing = _size(raw, name), what_is_missing(raw)
    with _opened(raw, name, path) as file:
        audio, promised = _samples(file, size, name), file.frames
        rate, source = file.samplerate, SourceFormat(file.format, file.subtype)
    _require_all(name, audio.shape[1], promised, missing)
    _require_numbers(audio, name)
    return audio, rate, source


@contextmanager
def open_sound(path: Path) -> Iterator[tuple[soundfile.SoundFile, BinaryIO]]:
    """Open a sound file for reading, as sound and as bytes. What goes wrong, in the block too, is an AudioError."""
    name = printable(path)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}", "name a sound file") from error
    with raw, _opened(raw, name, path) as file:
        yield file, raw


@contextmanager
def _opened(raw: BinaryIO, name: str, path: Path | None) -> Iterator[soundfile.SoundFile]:
    """Open what a file holds, by its path where it has one."""
    _size(raw, name)
    raw.seek(0)
    try:
        with soundfile.SoundFile(_Steady(raw) if path is None else _named(path)) as file:
            require_rate(file.samplerate, name)
            yield file
    except TypeError as error:  # soundfile asks for the rate and format of a .raw file
        raise AudioError(f"{name} has no header that tells its rate and format", "make a WAV file of it") from error
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{name} cannot be read as sound: {_reason(error)}", "is it a sound file, complete and readable?"
        ) from error


def _size(raw: BinaryIO, name: str) -> int:
    """How many bytes an opened file has. Raises AudioError where it is empty, or a pipe."""
    if not raw.seekable():
        raise AudioError(f"{name} is a pipe, and sounds are read from files", "save it to a file first")
    if not (size := raw.seek(0, os.SEEK_END)):
        raise AudioError(f"{name} is empty (0 bytes)")
    return size


def _named(path: Path) -> str | bytes:
    """A name as soundfile takes it: it cannot encode those that are not Unicode."""
    return str(path) if os.name == "nt" else os.fsencode(path)


class _Steady:
    """A file that is read by libsndfile, which cannot be told of errors: Python would print them and go on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell, self.read = file.tell, file.read

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (ValueError, OSError):  # a damaged header may ask for places before the beginning
            return self._file.tell()


def _samples(file: soundfile.SoundFile, size: int, name: str) -> np.ndarray:
    """All samples `(channels, n)` of a file of `size` bytes. Raises AudioError where they would take too much memory.

    The number that a header promises is only believed where that much is decoded, and may be unknown.
    """
    most = most_frames(size, file.channels)
    is_known = file.frames < UNKNOWN_LENGTH
    if is_known:
        require_frames(name, file.frames, file.samplerate, most)
    else:
        most //= 2  # what grows is copied
    audio = np.empty((file.channels, file.frames if is_known else 0), np.float32)
    block, done = block_length(file.channels), 0
    while len(piece := file.read(block, dtype="float32", always_2d=True)):
        done += len(piece)
        if done > audio.shape[1]:
            require_frames(name, done, file.samplerate, most)
            audio = np.concatenate([audio, np.empty((file.channels, max(done, audio.shape[1])), np.float32)], axis=1)
        audio[:, done - len(piece) : done] = piece.T
    return audio if done == audio.shape[1] else audio[:, :done].copy()


def checked_blocks(file: soundfile.SoundFile, raw: BinaryIO, name: str) -> Iterator[np.ndarray]:
    """Yield all samples of what `open_sound` opened in blocks (channels, n).

    Raises AudioError when there are none, very many more than its size lets expect, or some that are not numbers; a
    file that ends early is warned of.
    """
    size, missing, samples = raw.seek(0, os.SEEK_END), what_is_missing(raw), 0
    most = most_streamed_frames(size, file.channels)
    if file.frames < UNKNOWN_LENGTH:
        require_frames(name, file.frames, file.samplerate, most)
    while len(block := file.read(block_length(file.channels), dtype="float32", always_2d=True)):
        _require_numbers(block.T, name, samples)
        samples += len(block)
        require_frames(name, samples, file.samplerate, most)
        yield block.T
    _require_all(name, samples, file.frames, missing)


def _require_all(name: str, samples: int, promised: int, missing: str) -> None:
    """Raise AudioError where a file has no samples; warn where it has fewer than it promises."""
    if not samples:
        raise AudioError(f"{name} has no samples")
    if samples < promised < UNKNOWN_LENGTH:
        log.warning("%s ends early: %d samples of %d are there", name, samples, promised)
    elif missing:
        log.warning("%s ends early: %s", name, missing)


def write_audio(
    path: str | Path,
    audio: np.ndarray | Stream,
    sample_rate: int,
    *,
    subtype: str | None = None,
    source: SourceFormat | None = None,
    peak: Peak = "safe",
    record: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> list[str]:
    """Write float32 `(channels, samples)`, an array or a stream; return warnings in words, which the written
    record holds too.

    The format follows from the ending, the sample type from `subtype`, else from `source`, else it is 24 bit.
    Only FLOAT holds values beyond ±1; elsewhere `peak` says whether the whole clip is scaled to fit ("safe")
    or the values are cut ("clip").
    """
    if peak not in ("safe", "clip"):
        raise AudioError(f"peak={peak!r} is not known", "choose safe or clip")
    sound = as_stream(audio)
    if sound.samples == 0:
        raise AudioError(f"{path} was not written: the clip has no samples")
    with SoundWriter(
        path, sample_rate, sound.channels, subtype=subtype, source=source, record=record, overwrite=overwrite
    ) as out:
        gain, warnings = (1.0, []) if out.subtype == "FLOAT" else _fit(sound, peak)
        if warnings and out.record:
            out.record["warnings"] = [*out.record.get("warnings", []), *warnings]
        for block in sound.blocks():
            out.write(block * np.float32(gain))
    return warnings


class SoundWriter:
    """Write a sound file piece by piece: `with SoundWriter(path, 44100, 2) as out: out.write(chunk)`.

    Memory stays flat however long the sound is. The file appears under its name, with `out.record` in its
    tags, when the block ends without an error. Values beyond ±1 are cut unless the subtype is FLOAT, with a
    warning in the log and in the record; `out.peak` tells.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        *,
        subtype: str | None = None,
        source: SourceFormat | None = None,
        record: Mapping[str, Any] | None = None,
        overwrite: bool = True,
    ) -> None:
        self.path = Path(path)
        self._container = container_of(self.path)
        self._container.check(sample_rate, channels)
        self.subtype = self._container.subtype_for(subtype, source)
        self.sample_rate, self.channels = sample_rate, channels
        self.record = dict(record or {})
        self.samples = 0
        self.peak = 0.0
        self._overwrite = overwrite

    def __enter__(self) -> Self:
        self._session = self._writing()
        self._session.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._session.__exit__(*error)

    def write(self, chunk: np.ndarray) -> None:
        """Append float32 `(channels, n)`; AudioError when a value is not a number, WriteError when the disk is full."""
        if chunk.ndim != 2 or chunk.shape[0] != self.channels:
            raise AudioError(f"{self.path} takes chunks of ({self.channels}, n) samples, not {chunk.shape}")
        _require_numbers(chunk, f"the sound for {self.path}", self.samples)
        self.samples += chunk.shape[1]
        if self.samples * self.channels * self._container.subtypes[self.subtype] > LARGEST_WAV:
            raise AudioError(f"{self.path} would pass 4 GiB, the most a WAV file holds", "write FLAC instead")
        self.peak = max(self.peak, _peak(chunk))
        for start in range(0, chunk.shape[1], BLOCK):  # the Vorbis encoder crashes on longer ones
            self._write_block(chunk[:, start : start + BLOCK])

    def _write_block(self, block: np.ndarray) -> None:
        if self.subtype != "FLOAT":
            block = np.clip(block, -1, 1)
        try:
            self._file.write(np.ascontiguousarray(block.T, dtype=np.float32))
        except AssertionError as error:  # soundfile's way to say that fewer samples were taken than given
            raise soundfile.SoundFileRuntimeError("the data were not taken") from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with atomic_path(self.path, overwrite=self._overwrite) as new:
            with _Disk(new, "rb+") as disk, _encoder_faults(self.path, disk), self._open(disk) as self._file:
                yield
            if self.peak > 1 and self.subtype != "FLOAT":
                note = f"the peak was {self.peak:.3g} times full scale; what is beyond was cut"
                log.warning("%s: %s", self.path, note)
                self.record["warnings"] = [*self.record.get("warnings", ()), note]
            if self.record:
                write_record(new, self.record, name=self.path)

    def _open(self, disk: "_Disk") -> soundfile.SoundFile:
        return soundfile.SoundFile(
            disk,
            "w",
            self.sample_rate,
            self.channels,
            format=self._container.name,
            subtype=self.subtype,
            compression_level=LOSSY_COMPRESSION if self._container.name in ("OGG", "MP3") else None,
        )


class _Disk(io.FileIO):
    """A file that keeps the error of a failed write, which libsndfile forgets when it closes some formats."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return len(data) - len(rest)


@contextmanager
def _encoder_faults(path: Path, disk: _Disk) -> Iterator[None]:
    """Turn a failure of the encoder, or one that it kept to itself, into an AudioError or WriteError."""
    try:
        yield
    except soundfile.SoundFileError as error:
        if disk.error is None:
            raise AudioError(f"{path} could not be written: {_reason(error)}") from error
    if disk.error is not None:
        with write_errors(path):
            raise disk.error


def _fit(sound: Stream, peak: Peak) -> tuple[float, list[str]]:
    """The gain that makes the sound fit into ±1, and a sentence about it."""
    loudest = sound.peak()
    if not loudest > 1:  # also when a value is not a number, which the writer reports
        return 1.0, []
    over = f"the peak was {loudest:.3g} times full scale"
    if peak == "clip":
        beyond = sum(np.count_nonzero(np.abs(block) > 1) for block in sound.blocks())
        return 1.0, [f"{over}; {beyond} samples were cut"]
    gain = 1 / loudest
    return gain, [f"{over}; the clip was turned down by {-20 * np.log10(gain):.2f} dB to fit"]


def _peak(audio: np.ndarray) -> float:
    return float(max(audio.max(), -audio.min())) if audio.size else 0.0


def _require_numbers(audio: np.ndarray, name: str, start: int = 0) -> None:
    if np.isfinite(audio).all():
        return
    bad = ~np.isfinite(audio)
    first = start + int(bad.any(axis=0).argmax())
    count = np.count_nonzero(bad)
    raise AudioError(f"{name} has {count} values that are not numbers, the first at sample {first}")


def _reason(error: soundfile.SoundFileError) -> str:
    reason = getattr(error, "error_string", str(error)).rstrip(".")
    return shown(reason) if reason else "it is damaged"
