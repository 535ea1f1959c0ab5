"""Audio formats for writing: names, sample types, sample rates and channels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from soundloom.audio.formats.limits import MAX_RATE, MIN_RATE
from soundloom.errors import AudioError

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class SourceFormat:
    """The format of an audio file in libsndfile's terms: container "WAV", sample type "PCM_16" …"""

    container: str
    subtype: str


@dataclass(frozen=True)
class Container:
    """A format for writing. `subtypes` maps names, the default first, to bytes per sample if size is limited."""

    name: str
    subtypes: Mapping[str, int]
    max_channels: int
    rates: Collection[int]

    def subtype_for(self, wanted: str | None, source: SourceFormat | None) -> str:
        """Return the wanted subtype, else the one closest to the source's, else the default."""
        known = list(self.subtypes)
        if wanted is not None:
            if wanted.upper() not in known:
                raise AudioError(f"{self.name} files do not support {wanted}", f"use {', '.join(known)}")
            return wanted.upper()
        equivalent = EQUIVALENT_SUBTYPES.get(source.subtype, source.subtype) if source else ""
        return equivalent if equivalent in known else known[0]

    def check(self, sample_rate: int, channels: int) -> None:
        """Raise AudioError for an unsupported sample rate or number of channels."""
        if not 1 <= channels <= self.max_channels:
            raise AudioError(f"{self.name} files have 1 to {self.max_channels} channels, not {channels}")
        if sample_rate not in self.rates:
            near = min(MP3_RATES, key=lambda rate: abs(rate - sample_rate))  # supported by every format
            raise AudioError(f"{self.name} files do not support a rate of {sample_rate} Hz", f"try {near} Hz")


EQUIVALENT_SUBTYPES = {  # for subtypes that are read but not written
    "PCM_U8": "PCM_16",
    "PCM_S8": "PCM_16",
    "ULAW": "PCM_16",
    "ALAW": "PCM_16",
    "PCM_32": "FLOAT",
    "DOUBLE": "FLOAT",
}
CONTAINERS = {
    ".wav": Container("WAV", {"PCM_24": 3, "PCM_16": 2, "FLOAT": 4}, 1024, range(MIN_RATE, MAX_RATE + 1)),
    ".flac": Container("FLAC", {"PCM_24": 0, "PCM_16": 0}, 8, range(MIN_RATE, 655351)),
    # libsndfile 1.2 crashes the process on more channels or higher rates in Vorbis
    ".ogg": Container("OGG", {"VORBIS": 0}, 255, range(4000, 192001)),
    ".mp3": Container("MP3", {"MPEG_LAYER_III": 0}, 2, MP3_RATES),
}


def container_of(path: Path) -> Container:
    """Return the format that a path's suffix selects."""
    if container := CONTAINERS.get(path.suffix.lower()):
        return container
    suffix = f"the unsupported suffix {path.suffix}" if path.suffix else "no suffix"
    raise AudioError(f"{path} has {suffix}", f"use {', '.join(CONTAINERS)}")
