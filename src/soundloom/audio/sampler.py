"""Tempo and loop points of clips, as samplers and audio workstations read them from files.

WAV files get the chunks `smpl` (loop points) and `acid` (tempo, beats, meter); FLAC, OGG and MP3 files tags.
Sources: RIFF sampler chunk of the Multimedia Programming Interface 1.0; libsndfile, wav.c, for `acid`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIDDLE_C = 60
MAX_BPM, MAX_BEATS = 10_000, 2**31
_STRETCH = 4  # a flag of acid: a loop that follows the tempo


@dataclass(frozen=True)
class SamplerFacts:
    """What a record says about tempo; a loop is the whole file."""

    is_loop: bool = False
    bpm: float | None = None
    beats: int | None = None
    meter: tuple[int, int] = (4, 4)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> SamplerFacts:
        """Read a record, which may come from any file: what cannot be read is left out."""
        loop, request = (record.get(name) for name in ("loop", "request"))
        is_loop = isinstance(loop, Mapping)
        found: Mapping[str, Any] = (
            loop if isinstance(loop, Mapping) else request if isinstance(request, Mapping) else {}
        )
        bpm, beats = _number(found.get("bpm"), MAX_BPM), _number(found.get("beats"), MAX_BEATS)
        whole = int(beats) if beats is not None and beats == int(beats) else None
        return cls(is_loop, bpm, whole, _meter(found.get("meter")))

    def chunks(self, samples: int, rate: int) -> dict[bytes, bytes]:
        """Return chunks of a WAV file with `samples` per channel."""
        found = {}
        if self.is_loop:
            header = struct.pack("<9I", 0, 0, round(1e9 / rate), MIDDLE_C, 0, 0, 0, 1, 0)
            found[b"smpl"] = header + struct.pack("<6I", 0, 0, 0, samples - 1, 0, 0)  # the last sample is played
        if self.is_loop and self.bpm is not None and self.beats is not None:
            beats, unit = self.meter
            found[b"acid"] = struct.pack("<IHHfIHHf", _STRETCH, MIDDLE_C, 0x8000, 0, self.beats, unit, beats, self.bpm)
        return found

    def vorbis_comments(self, samples: int) -> dict[str, str]:
        """Return tags of a FLAC or OGG file; game engines read the loop points."""
        loop = {"LOOPSTART": "0", "LOOPLENGTH": str(samples)} if self.is_loop else {}
        return ({} if self.bpm is None else {"BPM": f"{self.bpm:g}"}) | loop


def _number(value: Any, limit: float) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < limit else None


def _meter(text: Any) -> tuple[int, int]:
    parts = text.split("/") if isinstance(text, str) else []
    if len(parts) == 2 and all(part.isascii() and part.isdecimal() and 0 < int(part) < 65536 for part in parts):
        return int(parts[0]), int(parts[1])
    return 4, 4
