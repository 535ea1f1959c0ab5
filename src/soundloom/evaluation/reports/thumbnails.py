"""Small spectrograms of audio files, as PNG files made here: 160 columns, 64 mel bands, 80 dB."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.mel import mel_filter_bank
from soundloom.audio.read import open_audio_file

COLUMNS, BANDS = 160, 64
WINDOW_SECONDS = 0.046  # 2048 samples at 44.1 kHz
RANGE = 80.0  # dB below a full-scale sine
SHADES = ((0, 0, 8), (50, 18, 92), (142, 40, 128), (222, 73, 104), (254, 159, 109), (252, 253, 191))


def thumbnail(path: Path) -> bytes:
    """Return the spectrogram of an audio file as PNG. Raises AudioError.

    Only the windows that it shows are read, so memory use does not depend on the length.
    """
    with open_audio_file(path) as (file, _):
        rate, length = file.samplerate, file.frames
        size = max(64, round(WINDOW_SECONDS * rate))
        starts = np.linspace(0, max(0, length - size), COLUMNS).astype(int)
        windows = np.zeros((COLUMNS, size))
        for index, start in enumerate(starts):
            file.seek(int(start))
            part = file.read(size, dtype="float32", always_2d=True).mean(axis=1)
            windows[index, : len(part)] = part
    return png(spectrogram(np.nan_to_num(windows, posinf=0, neginf=0), rate))


def spectrogram(windows: NDArray[np.float64], rate: int) -> NDArray[np.uint8]:
    """Return shades (bands, columns) of windows (columns, samples), the highest band first."""
    shape = np.hanning(windows.shape[1])
    power = np.abs(np.fft.rfft(windows * shape) / shape.sum() * 2) ** 2
    levels = power @ mel_filter_bank(BANDS, windows.shape[1], rate).T
    decibels = 10 * np.log10(np.maximum(levels, 1e-12))
    return np.asarray(255 * np.clip(decibels / RANGE + 1, 0, 1), np.uint8).T[::-1]


def png(shades: NDArray[np.uint8]) -> bytes:
    """Return an image of 256 shades (rows, columns) as a PNG file with a palette."""
    rows, columns = shades.shape
    points = np.linspace(0, 255, len(SHADES))
    palette = np.stack([np.interp(np.arange(256), points, [shade[i] for shade in SHADES]) for i in range(3)], 1)
    data = b"".join(b"\0" + row.tobytes() for row in shades)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette.astype(np.uint8).tobytes()), (b"IDAT", zlib.compress(data, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in (*chunks, (b"IEND", b"")))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
