"""Write WAV, FLAC, OGG and MP3 files atomically.

Samples of 16 and 24 bit files are exact in float32 and convert back to the same integers. Dither is never applied.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import soundfile

from soundloom.atomic import atomic_path, write_errors
from soundloom.audio.blocks import BLOCK, Stream, as_stream
from soundloom.audio.formats.containers import SourceFormat, container_of
from soundloom.audio.formats.riff import clear_time
from soundloom.audio.metadata import write_record
from soundloom.audio.read import error_reason, require_finite
from soundloom.audio.records import with_warnings
from soundloom.audio.signals import held_signals
from soundloom.errors import AudioError

if TYPE_CHECKING:
    from soundloom.audio.c2pa.sign import C2paOptions

log = logging.getLogger(__name__)

MAX_WAV_BYTES = 2**32 - 2**24  # bytes; WAV sizes have 32 bits, and tags need room
LOSSY_COMPRESSION = 0.1  # near the best quality of MP3 and Vorbis (0): about 200 and 330 kbit/s in stereo

Peak = Literal["safe", "clip"]


def write_audio(
    path: str | Path,
    audio: np.ndarray | Stream,
    sample_rate: int,
    *,
    subtype: str | None = None,
    source: SourceFormat | None = None,
    peak: Peak = "safe",
    record: Mapping[str, Any] | None = None,
    disclosure: bool = True,
    c2pa: C2paOptions | None = None,
    name: str = "",
    overwrite: bool = True,
) -> list[str]:
    """Write float32 `(channels, samples)`, an array or a stream; return warnings, which the record also gets.

    The suffix selects the format. The sample type is `subtype`, else that of `source`, else 24 bit. Only FLOAT stores
    values beyond ±1; otherwise `peak` selects whether to scale the clip ("safe") or to clip values ("clip").
    `disclosure` is that of `write_record`; `c2pa` and `name` are the options and `name` of `sign_file`.
    """
    if peak not in ("safe", "clip"):
        raise AudioError(f"peak must be safe or clip, found {peak!r}")
    stream = as_stream(audio)
    if stream.samples == 0:
        raise AudioError(f"{path} was not written: the clip has no samples")
    with AudioWriter(
        path,
        sample_rate,
        stream.channels,
        subtype=subtype,
        source=source,
        record=record,
        disclosure=disclosure,
        c2pa=c2pa,
        name=name,
        overwrite=overwrite,
    ) as out:
        gain, warnings = (1.0, []) if out.subtype == "FLOAT" else _gain_to_fit(stream, peak)
        out.record = with_warnings(out.record, warnings)
        for block in stream.blocks():
            out.write(block * np.float32(gain))
    return warnings


class AudioWriter:
    """Write an audio file in chunks: `with AudioWriter(path, 44100, 2) as out: out.write(chunk)`.

    Memory use does not depend on the length. The file appears at its path, with `out.record` in its tags, when the
    block succeeds. Values beyond ±1 are clipped unless the subtype is FLOAT, with a warning in the log and the record;
    `out.peak` is the highest magnitude.
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
        disclosure: bool = True,
        c2pa: C2paOptions | None = None,
        name: str = "",
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
        self._disclosure, self._overwrite = disclosure, overwrite
        self._c2pa, self._name = c2pa, name

    def __enter__(self) -> Self:
        self._session = self._writing()
        self._session.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._session.__exit__(*error)

    def write(self, chunk: np.ndarray) -> None:
        """Append float32 `(channels, n)`. Raises AudioError for values that are not finite, and WriteError."""
        if chunk.ndim != 2 or chunk.shape[0] != self.channels:
            raise AudioError(f"chunks for {self.path} must have the shape ({self.channels}, n), found {chunk.shape}")
        require_finite(chunk, f"the audio for {self.path}", self.samples)
        self.samples += chunk.shape[1]
        if self.samples * self.channels * self._container.subtypes[self.subtype] > MAX_WAV_BYTES:
            raise AudioError(f"{self.path} would exceed 4 GiB, the limit of WAV files", "write FLAC instead")
        self.peak = max(self.peak, _peak(chunk))
        for start in range(0, chunk.shape[1], BLOCK):  # the Vorbis encoder crashes on longer ones
            self._write_block(chunk[:, start : start + BLOCK])

    def _write_block(self, block: np.ndarray) -> None:
        if self.subtype != "FLOAT":
            block = np.clip(block, -1, 1)
        try:
            with held_signals():
                self._file.write(np.ascontiguousarray(block.T, dtype=np.float32))
        except AssertionError as error:  # soundfile raises it if fewer samples were written
            raise soundfile.SoundFileRuntimeError("not all samples were written") from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with atomic_path(self.path, overwrite=self._overwrite) as new:
            with _OutputFile(new, "rb+") as disk, _encoder_errors(self.path, disk), self._open(disk) as self._file:
                yield
            if self._container.name == "WAV" and self.subtype == "FLOAT":
                with write_errors(self.path), new.open("rb+") as raw:
                    clear_time(raw)
            if self.peak > 1 and self.subtype != "FLOAT":
                note = f"the peak was {self.peak:.3g} times full scale; the excess was clipped"
                log.warning("%s: %s", self.path, note)
                self.record = with_warnings(self.record, [note])
            if self.record:
                write_record(new, self.record, name=self.path, disclosure=self._disclosure)
            if self._c2pa is not None:
                from soundloom.audio.c2pa.sign import sign_file

                sign_file(new, self.path, self.record, self._c2pa, self._name, overwrite=self._overwrite)

    @contextmanager
    def _open(self, disk: _OutputFile) -> Iterator[soundfile.SoundFile]:
        file: soundfile.SoundFile | None = None
        try:
            with held_signals():
                file = soundfile.SoundFile(
                    disk,
                    "w",
                    self.sample_rate,
                    self.channels,
                    format=self._container.name,
                    subtype=self.subtype,
                    compression_level=LOSSY_COMPRESSION if self._container.name in ("OGG", "MP3") else None,
                )
            yield file
        finally:
            if file is not None:
                with held_signals():
                    file.close()


class _OutputFile(io.FileIO):
    """A file that stores the error of a failed write, which libsndfile loses when it closes some formats."""

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
def _encoder_errors(path: Path, disk: _OutputFile) -> Iterator[None]:
    """Turn reported and unreported failures of the encoder into AudioError or WriteError."""
    try:
        yield
    except soundfile.SoundFileError as error:
        if disk.error is None:
            raise AudioError(f"{path} could not be written: {error_reason(error)}") from error
    if disk.error is not None:
        with write_errors(path):
            raise disk.error


def _gain_to_fit(stream: Stream, peak: Peak) -> tuple[float, list[str]]:
    """Return the gain that scales audio into ±1, and a warning if it is not 1."""
    loudest = stream.peak()
    if not loudest > 1:  # also for NaN, which the writer reports
        return 1.0, []
    over = f"the peak was {loudest:.3g} times full scale"
    if peak == "clip":
        beyond = sum(np.count_nonzero(np.abs(block) > 1) for block in stream.blocks())
        return 1.0, [f"{over}; {beyond} samples were clipped"]
    gain = 1 / loudest
    return gain, [f"{over}; the clip was attenuated by {-20 * np.log10(gain):.2f} dB"]


def _peak(audio: np.ndarray) -> float:
    return float(max(audio.max(), -audio.min())) if audio.size else 0.0
