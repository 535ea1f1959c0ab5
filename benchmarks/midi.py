"""Write notes as a standard MIDI file, and render many short pieces in one run of fluidsynth.

Loading the soundfont takes longer than rendering a piece, so all pieces follow each other in one file and are cut.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
MISSING = "fluidsynth and FluidR3_GM.sf2 are not installed (Debian: fluidsynth and fluid-soundfont-gm)"
DRUMS = 9  # the MIDI channel of drums
TICKS_PER_SECOND = 1920  # 960 per quarter at 120 BPM
GAP = 4.0  # seconds between pieces, in which notes end
RATE = 44100


@dataclass(frozen=True)
class Note:
    """One note: start and length in seconds, channel, MIDI pitch and velocity."""

    start: float
    length: float
    channel: int
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Score:
    """Notes of a piece, the program of each channel, and its length in seconds."""

    notes: tuple[Note, ...]
    programs: dict[int, int]
    seconds: float


def has_soundfont() -> bool:
    return shutil.which("fluidsynth") is not None and SOUNDFONT.is_file()


def render_scores(scores: Sequence[Score]) -> Iterator[NDArray[np.float32]]:
    """Yield the audio (2, n) of each score at RATE."""
    with tempfile.TemporaryDirectory() as folder:
        score_file, audio_file = Path(folder) / "scores.mid", Path(folder) / "scores.wav"
        starts = np.cumsum([0.5, *(score.seconds + GAP for score in scores)])
        events = [event for score, start in zip(scores, starts, strict=False) for event in _events(score, start)]
        score_file.write_bytes(midi_file(events))
        settings = ("-o", "synth.gain=0.6", "-o", "synth.polyphony=512", "-r", str(RATE), "-O", "float")
        command = ["fluidsynth", "-n", "-i", "-q", *settings, "-T", "wav", "-F", str(audio_file)]
        subprocess.run([*command, str(SOUNDFONT), str(score_file)], check=True, capture_output=True)
        with soundfile.SoundFile(audio_file) as file:
            for score, start in zip(scores, starts, strict=False):
                file.seek(round(start * RATE))
                audio = file.read(round(score.seconds * RATE), dtype="float32", always_2d=True, fill_value=0.0)
                yield np.ascontiguousarray(audio.T)


def _events(score: Score, start: float) -> Iterator[tuple[float, int, bytes]]:
    """Yield the time, rank and bytes of the MIDI events of a score."""
    for channel, program in score.programs.items():
        yield start - 0.2, 0, bytes((0xC0 | channel, program))
    for note in score.notes:
        yield start + note.start, 2, bytes((0x90 | note.channel, note.pitch, note.velocity))
        yield start + note.start + note.length, 1, bytes((0x80 | note.channel, note.pitch, 0))
    for channel in range(16):
        yield start + score.seconds + 0.1, 3, bytes((0xB0 | channel, 120, 0))  # all sound off


def midi_file(events: Iterable[tuple[float, int, bytes]]) -> bytes:
    """Return a standard MIDI file of format 0 with events of (seconds, rank, bytes)."""
    track, now = b"", 0
    parts = []
    for seconds, _, data in sorted(events):
        tick = max(now, round(seconds * TICKS_PER_SECOND))
        parts.append(_variable_length(tick - now) + data)
        now = tick
    track = b"".join(parts) + b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 960) + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | (value & 0x7F))
    return bytes(reversed(digits))
