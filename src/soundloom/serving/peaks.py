"""Pictures of audio as data: the lowest and highest samples over spans of several lengths, and spectrogram tiles.

A pyramid of peaks is one binary: the header `<4sIIIQ` (b"PEAK", version 1, channels, levels, samples), the number of
spans of each level `<I`, then the levels: int16 (spans, channels, 2), lowest and highest. A span of the first level has
256 samples, of each further level four times as many.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from soundloom.audio.blocks import Stream
from soundloom.audio.channels import to_channels

SPAN, FACTOR, SCREEN = 256, 4, 2048  # samples, spans joined by a further level, spans of the last level at most
HEADER = struct.Struct("<4sIIIQ")
MAGIC, VERSION = b"PEAK", 1
TILE = 512  # columns of a spectrogram tile
WINDOW, ROWS = 2048, 256
MAX_LEVEL = 12  # of spectrograms: hops of 256 samples times two to the level
LOWEST_HZ, RANGE = 30.0, 90.0  # dB below full scale


def pyramid(stream: Stream) -> bytes:
    """Return the pyramid of peaks of a stream; values beyond full scale are clipped."""
    first = np.concatenate([_spans(chunk) for chunk in stream.chunks(SPAN * 4096)] or [_spans(np.zeros((1, 0)))])
    levels = [first]
    while len(levels[-1]) > SCREEN:
        levels.append(_joined(levels[-1]))
    counts = struct.pack(f"<{len(levels)}I", *map(len, levels))
    header = HEADER.pack(MAGIC, VERSION, stream.channels, len(levels), stream.samples)
    return b"".join([header, counts, *(level.tobytes() for level in levels)])


def _spans(audio: np.ndarray) -> np.ndarray:
    """Return (spans, channels, 2), int16, of audio (channels, n)."""
    audio = np.pad(audio, ((0, 0), (0, -audio.shape[1] % SPAN)), mode="edge" if audio.shape[1] else "constant")
    parts = audio.reshape(len(audio), -1, SPAN)
    found = np.stack([np.floor(parts.min(axis=2) * 32767), np.ceil(parts.max(axis=2) * 32767)], axis=-1)
    return found.clip(-32768, 32767).astype("<i2").swapaxes(0, 1)


def _joined(level: np.ndarray) -> np.ndarray:
    padded = np.pad(level, ((0, -len(level) % FACTOR), (0, 0), (0, 0)), mode="edge")
    parts = padded.reshape(-1, FACTOR, *level.shape[1:])
    return np.ascontiguousarray(np.stack([parts[..., 0].min(axis=1), parts[..., 1].max(axis=1)], axis=-1))


def tile_span(number: int, level: int) -> tuple[int, int]:
    """Return the samples that a spectrogram tile needs, which may lie beyond the ends of a clip."""
    hop = SPAN << level
    start = number * TILE * hop - WINDOW // 2
    return start, start + (TILE - 1) * hop + WINDOW


def tile_count(samples: int, level: int) -> int:
    """Return the number of tiles of a clip."""
    return max(1, -(-samples // (TILE * (SPAN << level))))


def spectrogram_tile(audio: np.ndarray, rate: int, level: int) -> bytes:
    """Return uint8 (ROWS, TILE) of audio (channels, samples of `tile_span`): 255 is full scale, 0 is -90 dB and below.

    Rows are frequencies from `LOWEST_HZ` to the Nyquist frequency, logarithmic, the highest first.
    """
    mono = to_channels(audio, 1)[0]
    frames = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)[:: SPAN << level][:TILE]
    window = np.hanning(WINDOW).astype(np.float32)
    magnitudes = np.abs(np.fft.rfft(frames * window)).T * (2 / window.sum())
    bins = np.geomspace(LOWEST_HZ, rate / 2, ROWS + 1) * WINDOW / rate
    rows = np.stack([_row(magnitudes, low, high) for low, high in pairwise(bins)])[::-1]
    decibels = 20 * np.log10(np.maximum(rows, 1e-9))
    return ((decibels / RANGE + 1) * 255).clip(0, 255).round().astype(np.uint8).tobytes()


def _row(magnitudes: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the loudest bin of a band, between bins where the band is narrower than one."""
    first, last = int(np.ceil(low)), int(np.ceil(high))
    if last > first:
        return magnitudes[first : min(last, len(magnitudes))].max(axis=0)
    middle = (low + high) / 2
    below, share = int(middle), middle - int(middle)
    return magnitudes[below] * (1 - share) + magnitudes[min(below + 1, len(magnitudes) - 1)] * share


def read_pyramid(data: bytes) -> list[np.ndarray]:
    """Return the levels of a pyramid, (spans, channels, 2)."""
    _, _, channels, levels, _ = HEADER.unpack_from(data)
    counts: Iterable[int] = struct.unpack_from(f"<{levels}I", data, HEADER.size)
    found, offset = [], HEADER.size + 4 * levels
    for count in counts:
        level = np.frombuffer(data, "<i2", count * channels * 2, offset).reshape(count, channels, 2)
        found.append(level)
        offset += level.nbytes
    return found
