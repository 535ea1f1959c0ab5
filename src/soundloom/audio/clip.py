"""The public result type: sound, its rate, and how it was made.

What reads and writes files is imported for files alone: making sound begins sooner without it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, overload

import numpy as np

from soundloom.audio.blocks import Stream, as_stream
from soundloom.audio.channels import to_channels
from soundloom.audio.loudness import TRUE_PEAK, gain_to_loudness
from soundloom.audio.resample import resample
from soundloom.errors import AudioError, RequestError, printable

if TYPE_CHECKING:
    from soundloom.audio.files import Peak
    from soundloom.audio.formats.containers import SourceFormat
    from soundloom.audio.formats.file_objects import Readable, Writable

log = logging.getLogger(__name__)

USUAL_CHANNELS, MOST_CHANNELS = 8, 1024  # 7.1 sound; the most that any file holds
LONGEST_PROMPT_SHOWN = 40


class SaveOptions(TypedDict, total=False):
    """Options of `Clip.save` and `Clip.to_bytes`; the former says what they do."""

    subtype: str | None
    rate: int | None
    peak: Peak
    loudness: float | None
    true_peak: float


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """Sound as float32 `(channels, samples)`, full scale ±1.

    `record` says how the clip was made (request, seed, model, model hash, engine, warnings …) in values that
    JSON can hold; it is empty for sounds from elsewhere. `source_format` is the format of the file that the
    clip came from; saving keeps its bit depth. `name` is that of the file.
    """

    audio: np.ndarray
    sample_rate: int
    record: Mapping[str, Any] = field(default_factory=dict)
    source_format: SourceFormat | None = None
    name: str = ""

    def __post_init__(self) -> None:
        audio = np.asarray(self.audio)
        if audio.dtype.kind != "f":
            raise AudioError(f"a clip holds floats in ±1, not {audio.dtype}", "divide by full scale")
        if audio.ndim == 1:
            audio = audio[None]
        if audio.ndim != 2 or audio.shape[0] == 0:
            raise AudioError(f"a clip holds (channels, samples), not an array of shape {audio.shape}")
        if _looks_transposed(*audio.shape):
            raise AudioError(
                f"a clip holds (channels, samples); an array of shape {audio.shape} looks like (samples, channels)",
                "give array.T",
            )
        if self.sample_rate != int(self.sample_rate) or self.sample_rate < 1:
            raise AudioError(f"a sample rate is a positive integer, not {self.sample_rate}")
        object.__setattr__(self, "audio", audio.astype(np.float32, copy=False))
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    def __repr__(self) -> str:
        values = f"seconds={round(self.seconds, 3)}, channels={self.channels}, sample_rate={self.sample_rate}"
        request = self.record.get("request")
        prompt = self.record.get("prompt") or (request.get("prompt") if isinstance(request, Mapping) else None)
        if isinstance(prompt, str) and prompt:
            values += f", prompt={_shortened(prompt)!r}"
        return f"Clip({values})"

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.audio.shape[0])

    @property
    def samples(self) -> int:
        """Samples per channel."""
        return int(self.audio.shape[1])

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return a span of the samples `(channels, stop - start)`, a view where they are in memory."""
        return self.audio[:, start:stop]

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield a span of the samples in blocks `(channels, n)`."""
        return as_stream(self.read(start, stop)).blocks()

    def cut(self, start: int, stop: int) -> Clip:
        """Return the part of the clip from one sample to another."""
        return replace(self, audio=self.audio[:, start:stop])

    def mixed(self, channels: int) -> Clip:
        """Return the clip with another number of channels, by the rule of `to_channels`."""
        return replace(self, audio=to_channels(self.audio, channels))

    def with_record(self, record: Mapping[str, Any]) -> Clip:
        """Return the clip with another record."""
        return replace(self, record=record)

    def stream(self, rate: int | None = None) -> Stream:
        """Return the samples in blocks, at another rate if one is given."""
        return as_stream(resample(self.audio, self.sample_rate, self.sample_rate if rate is None else rate))

    @classmethod
    def load(cls, path: str | PathLike[str] | Readable) -> Self:
        """Read a sound file, by its path or from a file object in binary mode, with the record in its tags or its
        sidecar; raises AudioError when that cannot be done.
        """
        if not isinstance(path, str | PathLike):
            return cls._load_from(path)
        from soundloom.audio.files import read_audio
        from soundloom.audio.metadata import read_record

        path = Path(path)
        audio, rate, source = read_audio(path)
        return cls(audio, rate, undamaged(lambda: read_record(path)), source, printable(path.name))

    def sha256(self) -> str:
        """Return the hash of rate, channels and samples (interleaved float32), whatever the file's format or tags."""
        return hash_of_sound(self.sample_rate, self.channels, self.blocks(0, self.samples))

    @classmethod
    def _load_from(cls, file: Readable) -> Self:
        from soundloom.audio.files import decode
        from soundloom.audio.formats.file_objects import Contents
        from soundloom.audio.metadata import read_tags

        contents = Contents(file)
        audio, rate, source = decode(contents, contents.name)
        contents.seek(0)
        return cls(audio, rate, undamaged(lambda: read_tags(contents, contents.name)), source)

    @overload
    def save(
        self,
        path: str | PathLike[str],
        *,
        sidecar: bool = False,
        overwrite: bool = True,
        **options: Unpack[SaveOptions],
    ) -> Path: ...
    @overload
    def save(self, path: Writable, *, format: str | None = None, **options: Unpack[SaveOptions]) -> None: ...
    def save(
        self,
        path: str | PathLike[str] | Writable,
        *,
        format: str | None = None,
        subtype: str | None = None,
        rate: int | None = None,
        peak: Peak = "safe",
        loudness: float | None = None,
        true_peak: float = TRUE_PEAK,
        sidecar: bool = False,
        overwrite: bool = True,
    ) -> Path | None:
        """Write a WAV, FLAC, OGG or MP3 file by the name's ending, with the record in its tags; return its
        path. A file object, open in binary mode, gets the same bytes, in the `format` "wav", "flac", "ogg" or "mp3".

        `subtype` (PCM_16, PCM_24, FLOAT) defaults to the depth of the file the clip came from, else 24 bit;
        `rate` resamples; `loudness` in LUFS turns the clip up or down, at most to `true_peak` dBTP; `peak` is
        for values beyond full scale where the format has none: "safe" turns the whole clip down, "clip" cuts
        them. Each of these is logged as a warning and kept in the record. `sidecar` writes the record as JSON
        beside the file too. Raises AudioError or WriteError.
        """
        options = SaveOptions(subtype=subtype, rate=rate, peak=peak, loudness=loudness, true_peak=true_peak)
        if isinstance(path, str | PathLike):
            if format is not None:
                raise RequestError("format is for file objects; the ending of a path chooses the format")
            self._write(path := Path(path), str(path), options, sidecar=sidecar, overwrite=overwrite)
            return path
        if sidecar:
            raise RequestError("a file object has no sidecar", "save to a path")
        from soundloom.audio.formats.file_objects import name_of, writing_to

        with writing_to(path, format) as temporary:
            self._write(temporary, name_of(path), options)
        return None

    def to_bytes(self, format: str = "wav", **options: Unpack[SaveOptions]) -> bytes:
        """Return what a file of a format (wav, flac, ogg or mp3) would hold; the options are those of `save`."""
        file = BytesIO()
        self.save(file, format=format, **options)
        return file.getvalue()

    def _write(
        self, path: Path, name: str, options: SaveOptions, *, sidecar: bool = False, overwrite: bool = True
    ) -> None:
        from soundloom.atomic import locked_folder
        from soundloom.audio.files import write_audio
        from soundloom.audio.metadata import write_sidecar

        notes: list[str] = []
        rate = options["rate"] or self.sample_rate
        sound = self.stream(rate)
        loudness, true_peak = options["loudness"], options["true_peak"]
        if loudness is not None:
            gain, limited = gain_to_loudness(sound, rate, loudness, true_peak)
            sound = sound.amplified(10 ** (gain / 20))
            if limited:
                passed = f"{loudness:g} LUFS would pass {true_peak:g} dBTP"
                notes.append(f"{passed}; the gain is only {gain:+.2f} dB")
        with locked_folder(path.parent) if sidecar else nullcontext():  # a sound never lies beside another's record
            notes += write_audio(
                path,
                sound,
                rate,
                subtype=options["subtype"],
                source=self.source_format,
                peak=options["peak"],
                record=_with_warnings(self.record, notes),
                overwrite=overwrite,
            )
            if sidecar:
                write_sidecar(path, _with_warnings(self.record, notes), overwrite=overwrite)
        for note in notes:
            log.warning("%s: %s", name, note)


Sound = Clip | str | PathLike[str]  # what an edit takes: a clip, or the path of a sound file


def hash_of_sound(sample_rate: int, channels: int, blocks: Iterable[np.ndarray]) -> str:
    """Return the hash that `Clip.sha256` describes, of sound in blocks (channels, n)."""
    found = hashlib.sha256(f"{sample_rate} {channels} ".encode())
    for block in blocks:
        found.update(np.ascontiguousarray(block.T, dtype="<f4").data)
    return found.hexdigest()


def _looks_transposed(channels: int, samples: int) -> bool:
    return 0 < samples < channels and (channels > USUAL_CHANNELS >= samples or channels > MOST_CHANNELS)


def _shortened(prompt: str) -> str:
    return prompt if len(prompt) <= LONGEST_PROMPT_SHOWN else f"{prompt[: LONGEST_PROMPT_SHOWN - 1]}…"


def undamaged(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Return the record that a function reads, or an empty one: damaged tags are no reason to refuse the sound."""
    try:
        return read() or {}
    except AudioError as error:
        log.warning("%s", error)
        return {}


def _with_warnings(record: Mapping[str, Any], notes: list[str]) -> Mapping[str, Any]:
    return {**record, "warnings": [*record.get("warnings", []), *notes]} if record and notes else record


def log_warnings(clips: Iterable[Clip], logged: set[str]) -> None:
    """Log the warnings in the records of clips, except those in `logged`; add them to it."""
    for warning in (warning for clip in clips for warning in clip.record.get("warnings", ())):
        if warning not in logged:
            logged.add(warning)
            log.warning("%s", warning)


def as_clip(sound: Sound) -> Clip:
    """Return a clip itself, and of the path of a sound file what is in it. Raises RequestError or AudioError."""
    if isinstance(sound, Clip):
        return sound
    if isinstance(sound, str | PathLike):
        return Clip.load(sound)
    hint = "make one: Clip(array, sample_rate)" if isinstance(sound, np.ndarray) else ""
    raise RequestError(f"a sound is a Clip or the path of a sound file, found {type(sound).__name__}", hint)
