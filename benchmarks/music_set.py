"""Write a set of rendered music with captions: python -m benchmarks.music_set FOLDER [PIECES].

Random pieces of 2 to 12 s, rendered with fluidsynth; all have a peak of -6 dBFS. The same pieces are
written each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.labeled_clips import soundfont_clips
from benchmarks.midi import MISSING, has_soundfont
from soundloom.audio.clip import Clip

PEAK = 0.5


def write_music(folder: Path, pieces: int) -> None:
    """Write pieces as WAV files of 32 bit floats, each with a text file that names its parts and tempo."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(soundfont_clips(range(pieces))):
        audio = piece.audio * np.float32(PEAK / np.abs(piece.audio).max())
        Clip(audio, piece.rate).save(folder / f"piece-{number:03d}.wav", subtype="float", disclosure=False)
        tempo = f", {piece.tempo:.0f} BPM" if piece.tempo else ""
        (folder / f"piece-{number:03d}.txt").write_text(f"{piece.what}{tempo}\n", encoding="utf-8")


def main() -> None:
    if not has_soundfont():
        sys.exit(MISSING)
    write_music(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 24)


if __name__ == "__main__":
    main()
