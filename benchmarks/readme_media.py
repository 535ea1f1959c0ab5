"""Generate the audio files and the spectrograms that README.md shows, with the model `mini`.

python -m benchmarks.readme_media [--out docs/media]
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import struct
import zlib
from pathlib import Path

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.audio.mel import log_mel
from soundloom.cli.main import main as soundloom

# As README.md prints them; each runs in the output folder and later ones read earlier files.
COMMANDS = (
    'soundloom generate "rock drum loop, 129 BPM" --seconds 2.8 --seed 7 -o drums.mp3',
    'soundloom inpaint drums.mp3 "snare drum loop, 129 BPM" --region 0.93,1.86 --seed 7 -o inpainted.mp3',
    'soundloom generate "a siren" --seconds 2.1 --seed 7 -o siren.mp3',
)
PICTURE = "spectrograms.png"
REGION = (0.93, 1.86)  # seconds of inpainted.mp3, framed in the picture
SECONDS, BANDS = 2.1, 128  # of each panel
WIDTH, HEIGHT, GAP = 320, 256, 10  # pixels of a panel, and between panels
QUIET, LOUD = -75.0, -15.0  # dB at both ends of the color scale
COLORS = ((0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))  # as magma
LEVELS = 32  # colors in the palette: few, so that the file is small
WHITE, FRAME = LEVELS, LEVELS + 1


def spectrogram(clip: Clip) -> np.ndarray:
    """Return palette indices (HEIGHT, WIDTH) of the first seconds of a clip, low frequencies at the bottom."""
    level = log_mel(clip.audio[:, : round(SECONDS * clip.sample_rate)], clip.sample_rate, BANDS)[::-1]
    rows, columns = (
        np.linspace(0, size - 1, pixels) for size, pixels in zip(level.shape, (HEIGHT, WIDTH), strict=True)
    )
    wide = np.array([np.interp(columns, np.arange(level.shape[1]), row) for row in level])
    smooth = np.array([np.interp(rows, np.arange(level.shape[0]), column) for column in wide.T]).T
    return np.rint(np.clip((smooth - QUIET) / (LOUD - QUIET), 0, 1) * (LEVELS - 1)).astype(np.uint8)


def frame(panel: np.ndarray, start: float, end: float) -> None:
    """Draw a box around a span of seconds."""
    left, right = (round(place / SECONDS * WIDTH) for place in (start, end))
    panel[:2, left:right] = panel[-2:, left:right] = FRAME
    panel[:, left : left + 2] = panel[:, right - 2 : right] = FRAME


def encode_png(indices: np.ndarray) -> bytes:
    """Return a PNG file of palette indices (height, width)."""
    stops = np.linspace(0, LEVELS - 1, len(COLORS))
    channels = [np.interp(np.arange(LEVELS), stops, values) for values in zip(*COLORS, strict=True)]
    palette = np.vstack([np.rint(np.transpose(channels)), (255, 255, 255), (120, 230, 255)]).astype(np.uint8)
    height, width = indices.shape
    rows = np.pad(indices, ((0, 0), (1, 0)))  # each row begins with its filter, 0 for none
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/media"))
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        for command in COMMANDS:
            if soundloom(shlex.split(command)[1:]):
                raise SystemExit(f"{command} failed")
        panels = [spectrogram(Clip.load(shlex.split(command)[-1])) for command in COMMANDS]
        frame(panels[1], *REGION)
        gap = np.full((HEIGHT, GAP), WHITE, np.uint8)
        Path(PICTURE).write_bytes(encode_png(np.hstack([panels[0], gap, panels[1], gap, panels[2]])))


if __name__ == "__main__":
    main()
