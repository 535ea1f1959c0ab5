from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile


def write_tone(path: Path, hz: float, seconds: float = 0.2, rate: int = 44100, level: float = 0.5) -> None:
    """A real sound file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, level * np.sin(2 * np.pi * hz * times), rate)


@pytest.fixture
def sounds(tmp_path) -> Path:
    """A nested folder: captions in .txt and in .json, none at all, one file that is no sound, and hidden files."""
    root = tmp_path / "sounds"
    write_tone(root / "bell.wav", 880)
    (root / "bell.txt").write_text("a bell\n\na ringing bell\n")
    write_tone(root / "loops/kick.flac", 60, 0.3, 48000)
    (root / "loops/kick.json").write_text('{"prompt": "a kick loop", "bpm": 120}')
    write_tone(root / "plain.ogg", 440)
    (root / "broken.mp3").write_bytes(b"this is not sound")
    write_tone(root / ".cache/hidden.wav", 100)
    (root / "notes.md").write_text("not a sound")
    return root
