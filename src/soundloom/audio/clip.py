"""Clip, the public type of audio with its sample rate and the record of its generation.

Reading and writing files is imported lazily, so that generation starts sooner.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

import numpy as np

from soundloom.audio.arrays import as_audio, joined, looks_transposed, span_in_samples, whole_number
from soundloom.audio.blocks import Stream, as_stream
from soundloom.audio.channels import to_channels
from soundloom.audio.loudness import TRUE_PEAK
from soundloom.audio.records import (
    joined_record,
    loop_samples,
    recorded_prompt,
    require_no_loop,
    trimmed_record,
    with_finish,
)
from soundloom.audio.resample import resample, resample_loop
from soundloom.audio.shaping import SILENCE_MARGIN, SILENCE_THRESHOLD, fade_lengths, faded, sound_span
from soundloom.errors import AudioError, RequestError, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from soundloom.audio.c2pa.sign import C2paOptions
    from soundloom.audio.formats.containers import SourceFormat
    from soundloom.audio.formats.file_objects import Readable, Writable
    from soundloom.audio.measure import Measurement
    from soundloom.audio.saving import SaveOptions
    from soundloom.audio.write import Peak

log = logging.getLogger(__name__)

MAX_PROMPT_SHOWN = 40


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """Audio as float32 `(channels, samples)`, full scale ±1.

    `record` describes how the clip was generated (request, seed, model, model hash, engine, warnings …) as JSON
    values; it is empty for other audio. `source_format` is the format of the file that the clip was read from; saving
    preserves its bit depth. `name` is the name of that file.
    """

    audio: np.ndarray
    sample_rate: int
    record: Mapping[str, Any] = field(default_factory=dict)
    source_format: SourceFormat | None = None
    name: str = ""

    def __post_init__(self) -> None:
        audio = np.asarray(self.audio)
        if audio.dtype.kind != "f":
            raise AudioError(f"a clip needs floats in ±1, found {audio.dtype}", "divide by full scale")
        if audio.ndim == 1:
            audio = audio[None]
        if audio.ndim != 2 or audio.shape[0] == 0:
            raise AudioError(f"a clip needs an array (channels, samples), found the shape {audio.shape}")
        if looks_transposed(*audio.shape):
            raise AudioError(
                f"a clip needs an array (channels, samples); the shape {audio.shape} looks like (samples, channels)",
                "pass array.T",
            )
        if self.sample_rate != int(self.sample_rate) or self.sample_rate < 1:
            raise AudioError(f"a sample rate must be a positive integer, found {self.sample_rate}")
        object.__setattr__(self, "audio", audio.astype(np.float32, copy=False))
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    @staticmethod
    def from_array(array: Any, rate: int) -> Clip:
        """Return samples of any form as a clip: (samples,), (channels, samples) or (samples, channels), copied.

        Floats have full scale ±1; integers of 8, 16 and 32 bits are scaled. More than 8 rows with at most 8 columns,
        or more than 1024 rows with fewer columns, are (samples, channels). Raises AudioError.
        """
        return Clip(as_audio(array), whole_number("a sample rate", rate))

    __iter__ = None  # a clip is no sequence of samples or channels

    def __getitem__(self, seconds: slice) -> Clip:
        """Return a part by seconds, `clip[1.0:2.5]`, `clip[-1:]`; its record says so. Raises RequestError."""
        first, last = span_in_samples(seconds, self.samples, self.sample_rate)
        if (first, last) == (0, self.samples):
            return self
        part, rate = self.cut(first, last), self.sample_rate
        return part.with_record(trimmed_record(self.record, first / rate, last / rate)) if self.record else part

    def __add__(self, other: Clip) -> Clip:
        """Return both clips one after the other; mono gets the channels of the other. Raises AudioError."""
        if not isinstance(other, Clip):
            return NotImplemented
        audio = joined(self.audio, other.audio, (self.sample_rate, other.sample_rate))
        record = joined_record([(self.record, self.seconds), (other.record, other.seconds)])
        source = self.source_format if self.source_format == other.source_format else None
        return Clip(audio, self.sample_rate, record, source)

    def to(self, *, rate: int | None = None, channels: int | None = None) -> Clip:
        """Return the clip at another sample rate or with other channels, converted as when it is saved.

        Raises RequestError or AudioError.
        """
        clip = self if channels is None else self.mixed(whole_number("channels", channels))
        if rate is None or (rate := whole_number("a sample rate", rate)) == self.sample_rate:
            return clip
        return Clip(clip.stream(rate).array(), rate, self.record, self.source_format, self.name)

    def plot(self) -> Figure:
        """Return a Matplotlib figure of waveform and spectrogram. Raises RequestError without Matplotlib."""
        from soundloom.audio.notebook.plot import plot_clip

        return plot_clip(self)

    def _repr_html_(self) -> str:
        from soundloom.audio.notebook.html import clip_html

        return clip_html(self)

    def __repr__(self) -> str:
        values = f"seconds={round(self.seconds, 3)}, channels={self.channels}, sample_rate={self.sample_rate}"
        if prompt := recorded_prompt(self.record):
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
        """Return a span of samples `(channels, stop - start)`, a view if they are in memory."""
        return self.audio[:, start:stop]

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield a span of samples in blocks `(channels, n)`."""
        return as_stream(self.read(start, stop)).blocks()

    def cut(self, start: int, stop: int) -> Clip:
        """Return the samples from `start` to `stop` as a clip."""
        return replace(self, audio=self.audio[:, start:stop])

    def mixed(self, channels: int) -> Clip:
        """Return the clip with another number of channels, mixed as in `to_channels`."""
        return replace(self, audio=to_channels(self.audio, channels))

    def trimmed(
        self, threshold: float = SILENCE_THRESHOLD, margin: float = SILENCE_MARGIN, *, at_least: float = 0.0
    ) -> Clip:
        """Return the clip without the silence before and after its sound.

        Silence is below `threshold` in dB relative to the peak of the clip. `margin` seconds of it are kept on both
        sides, and `at_least` seconds in all. A silent clip is kept whole. Raises RequestError for loops.
        """
        require_no_loop(self.record, "trimming its silence would change its length")
        start, stop = sound_span(self.stream(), self.sample_rate, threshold, margin, at_least)
        cut = {"start": start / self.sample_rate, "end": (self.samples - stop) / self.sample_rate}
        record = with_finish(self.record, {"trim_silence": {"threshold": threshold, "margin": margin, **cut}})
        return self.cut(start, stop).with_record(record)

    def faded(self, fade_in: float = 0.0, fade_out: float = 0.0) -> Clip:
        """Return the clip with raised-cosine fades at its start and end, in seconds.

        Raises RequestError for loops, and for fades that are together longer than the clip.
        """
        lengths = fade_lengths(fade_in, fade_out, self.samples, self.sample_rate)
        if not any(lengths):
            return self
        require_no_loop(self.record, "a fade is audible where it repeats")
        record = with_finish(self.record, {"fade_in": fade_in, "fade_out": fade_out})
        return self._with_fades(*lengths).with_record(record)

    def _with_fades(self, fade_in: int, fade_out: int) -> Clip:
        return replace(self, audio=faded(self.audio, 0, self.samples, fade_in, fade_out))

    def with_record(self, record: Mapping[str, Any]) -> Clip:
        """Return the clip with another record."""
        return replace(self, record=record)

    def stream(self, rate: int | None = None) -> Stream:
        """Return the samples as a stream, resampled if a rate is given; a loop as one that repeats."""
        used = self.sample_rate if rate is None else rate
        if used != self.sample_rate and "loop" in self.record:
            # From the tempo, since a length that is rounded at both rates may be a sample off.
            is_exact = loop_samples(self.record, self.sample_rate) == self.samples
            length = loop_samples(self.record, used) if is_exact else None
            return as_stream(resample_loop(self.audio, self.sample_rate, used, length))
        return self._stream(used)

    def _stream(self, rate: int) -> Stream:
        return as_stream(resample(self.audio, self.sample_rate, rate))

    @classmethod
    def load(cls, path: str | PathLike[str] | Readable) -> Self:
        """Read an audio file from a path or a binary file object, with the record in its tags or sidecar.

        Raises AudioError.
        """
        if not isinstance(path, str | PathLike):
            return cls._load_from(path)
        from soundloom.audio.metadata import read_record
        from soundloom.audio.read import read_audio

        path = Path(path)
        audio, rate, source = read_audio(path)
        return cls(audio, rate, record_or_empty(lambda: read_record(path)), source, printable(path.name))

    def measure(self) -> Measurement:
        """Measure tempo, key, pitch, loudness, true peak and onsets; what is uncertain is None. Raises AudioError."""
        from soundloom.audio.measure import measure

        return measure(self.stream(), self.sample_rate)

    def sha256(self) -> str:
        """Return the sha256 of rate, channels and samples (interleaved float32), independent of format and tags."""
        return hash_audio(self.sample_rate, self.channels, self.blocks(0, self.samples))

    @classmethod
    def _load_from(cls, file: Readable) -> Self:
        from soundloom.audio.formats.file_objects import Contents
        from soundloom.audio.metadata import read_tags
        from soundloom.audio.read import decode

        contents = Contents(file)
        audio, rate, source = decode(contents, contents.name)
        contents.seek(0)
        return cls(audio, rate, record_or_empty(lambda: read_tags(contents, contents.name)), source)

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
        normalize: str | None = None,
        true_peak: float = TRUE_PEAK,
        disclosure: bool = True,
        c2pa: bool | C2paOptions = False,
        sidecar: bool = False,
        overwrite: bool = True,
    ) -> Path | None:
        """Write a WAV, FLAC, OGG or MP3 file, selected by the suffix, with the record in its tags; return its path.

        `path` can also be a binary file object, with `format` "wav", "flac", "ogg" or "mp3". `subtype` (PCM_16,
        PCM_24, FLOAT) defaults to the bit depth of the source file, else 24 bit. `rate` resamples. `normalize` sets the
        level: "-16lufs" is a loudness, limited by `true_peak` in dBTP, "-1dbtp" a true peak, "-3db" a sample peak;
        `loudness=-16` means "-16lufs". `peak` handles values beyond full scale in integer formats:
        "safe" attenuates the clip, "clip" clips them. Changes of the gain are logged as warnings and added to the
        record. `disclosure` states in tags of their own that a model made the clip. `c2pa` signs the file; by
        default with the certificate of the settings, or a self-signed one. `sidecar` also writes the record as JSON
        next to the file. Raises AudioError, RequestError or WriteError.
        """
        from soundloom.audio.saving import SaveOptions, save_sound

        options = SaveOptions(
            subtype=subtype,
            rate=rate,
            peak=peak,
            loudness=loudness,
            normalize=normalize,
            true_peak=true_peak,
            disclosure=disclosure,
            c2pa=c2pa,
        )
        if isinstance(path, str | PathLike):
            if format is not None:
                raise RequestError("format applies to file objects only; the suffix of a path selects its format")
            save_sound(self, path := Path(path), str(path), options, sidecar=sidecar, overwrite=overwrite)
            return path
        if sidecar:
            raise RequestError("a file object cannot have a sidecar", "save to a path")
        from soundloom.audio.formats.file_objects import name_of, writing_to

        with writing_to(path, format) as temporary:
            if c2pa and temporary.suffix == ".ogg":
                raise RequestError("the C2PA manifest of an OGG file is a file beside it", "save to a path, or as FLAC")
            save_sound(self, temporary, name_of(path), options)
        return None

    def to_bytes(self, format: str = "wav", **options: Unpack[SaveOptions]) -> bytes:
        """Return the bytes of a file in `format` (wav, flac, ogg or mp3), with the options of `save`."""
        file = BytesIO()
        self.save(file, format=format, **options)
        return file.getvalue()


ClipOrPath = Clip | str | PathLike[str]


def hash_audio(sample_rate: int, channels: int, blocks: Iterable[np.ndarray]) -> str:
    """Return the hash of `Clip.sha256` for audio in blocks (channels, n)."""
    found = hashlib.sha256(f"{sample_rate} {channels} ".encode())
    for block in blocks:
        found.update(np.ascontiguousarray(block.T, dtype="<f4").data)
    return found.hexdigest()


def _shortened(prompt: str) -> str:
    return prompt if len(prompt) <= MAX_PROMPT_SHOWN else f"{prompt[: MAX_PROMPT_SHOWN - 1]}…"


def record_or_empty(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Return the record that `read` returns, or an empty one if it is damaged, so that the audio stays usable."""
    try:
        return read() or {}
    except AudioError as error:
        log.warning("%s", error)
        return {}


def log_warnings(clips: Iterable[Clip], logged: set[str]) -> None:
    """Log warnings in the records of clips, except those in `logged`, and add them to it."""
    for warning in (warning for clip in clips for warning in clip.record.get("warnings", ())):
        if warning not in logged:
            logged.add(warning)
            log.warning("%s", warning)


def as_clip(source: ClipOrPath) -> Clip:
    """Return a clip unchanged, or load it from a path. Raises RequestError or AudioError."""
    if isinstance(source, Clip):
        return source
    if isinstance(source, str | PathLike):
        return Clip.load(source)
    hint = "create one: Clip(array, sample_rate)" if isinstance(source, np.ndarray) else ""
    raise RequestError(f"audio must be a Clip or the path of a file, found {type(source).__name__}", hint)
