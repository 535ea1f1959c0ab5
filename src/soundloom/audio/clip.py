"""The public result type: sound, its rate, and how it was made.

What reads and writes files is imported for files alone: making sound begins sooner without it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.audio.loudness import TRUE_PEAK, gain_to_loudness
from soundloom.audio.resample import resample
from soundloom.audio.stream import Stream, as_stream
from soundloom.errors import AudioError

if TYPE_CHECKING:
    from soundloom.audio.files import Peak, SourceFormat

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Clip:
    """Sound as float32 `(channels, samples)`, full scale ±1.

    `record` says how the clip was made (request, seed, model, model hash, engine, warnings …) in values that
    JSON can hold; it is empty for sounds from elsewhere. `source_format` is the format of the file that the
    clip came from; saving keeps its bit depth.
    """

    audio: np.ndarray = field(repr=False)
    sample_rate: int
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)
    source_format: SourceFormat | None = None

    def __post_init__(self) -> None:
        audio = np.asarray(self.audio)
        if audio.dtype.kind != "f":
            raise AudioError(f"a clip holds floats in ±1, not {audio.dtype}", "divide by full scale")
        if audio.ndim == 1:
            audio = audio[None]
        if audio.ndim != 2 or audio.shape[0] == 0:
            raise AudioError(f"a clip holds (channels, samples), not an array of shape {audio.shape}")
        if self.sample_rate != int(self.sample_rate) or self.sample_rate < 1:
            raise AudioError(f"a sample rate is a positive whole number, not {self.sample_rate}")
        object.__setattr__(self, "audio", audio.astype(np.float32, copy=False))
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    @property
    def channels(self) -> int:
        return int(self.audio.shape[0])

    @property
    def samples(self) -> int:
        """Samples per channel."""
        return int(self.audio.shape[1])

    @property
    def seconds(self) -> float:
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
    def load(cls, path: str | Path) -> Self:
        """Read a sound file, with the record in its tags or its sidecar; raises AudioError when that cannot
        be done.
        """
        from soundloom.audio.files import read_audio
        from soundloom.audio.metadata import read_record

        audio, rate, source = read_audio(path)
        try:
            record = read_record(path) or {}
        except AudioError as error:  # damaged tags are no reason to refuse the sound
            log.warning("%s", error)
            record = {}
        return cls(audio, rate, record, source)

    def save(
        self,
        path: str | Path,
        *,
        subtype: str | None = None,
        rate: int | None = None,
        peak: Peak = "safe",
        loudness: float | None = None,
        true_peak: float = TRUE_PEAK,
        sidecar: bool = False,
        overwrite: bool = True,
    ) -> Path:
        """Write a WAV, FLAC, OGG or MP3 file by the name's ending, with the record in its tags; return its
        path.

        `subtype` (PCM_16, PCM_24, FLOAT) defaults to the depth of the file the clip came from, else 24 bit;
        `rate` resamples; `loudness` in LUFS turns the clip up or down, at most to `true_peak` dBTP; `peak` is
        for values beyond full scale where the format has none: "safe" turns the whole clip down, "clip" cuts
        them. Each of these is logged as a warning and kept in the record. `sidecar` writes the record as JSON
        beside the file too.
        """
        from soundloom.audio.files import write_audio
        from soundloom.audio.metadata import write_sidecar

        path = Path(path)
        rate = self.sample_rate if rate is None else rate
        sound, notes = self.stream(rate), []
        if loudness is not None:
            gain, limited = gain_to_loudness(sound, rate, loudness, true_peak)
            sound = sound.amplified(10 ** (gain / 20))
            if limited:
                passed = f"{loudness:g} LUFS would pass {true_peak:g} dBTP"
                notes.append(f"{passed}; the gain is only {gain:+.2f} dB")
        notes += write_audio(
            path,
            sound,
            rate,
            subtype=subtype,
            source=self.source_format,
            peak=peak,
            record=_with_warnings(self.record, notes),
            overwrite=overwrite,
        )
        if sidecar:
            write_sidecar(path, _with_warnings(self.record, notes), overwrite=overwrite)
        for note in notes:
            log.warning("%s: %s", path, note)
        return path


def _with_warnings(record: Mapping[str, Any], notes: list[str]) -> Mapping[str, Any]:
    return {**record, "warnings": [*record.get("warnings", []), *notes]} if record and notes else record


def log_warnings(clips: Iterable[Clip]) -> None:
    """Log what the records of clips that were made together warn of, each sentence once."""
    for warning in dict.fromkeys(warning for clip in clips for warning in clip.record.get("warnings", ())):
        log.warning("%s", warning)
