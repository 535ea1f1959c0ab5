"""Analyze audio in one pass with flat memory: band levels for rhythm, and histograms of spectral peaks for key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.blocks import Stream
from soundloom.audio.mel import mel_filter_bank

RATE = 22050  # Hz, at which audio is analyzed
WINDOW, HOP, BANDS = 1024, 256, 32  # of rhythm
FRAME_RATE = RATE / HOP
LONG_WINDOW, LONG_HOP = 16384, 2048  # of pitch, so that semitones from 65 Hz up are apart
HOPS_PER_SEGMENT = LONG_HOP // HOP
CHUNK = 64 * LONG_HOP
LOWEST, NOTES = 28, 81  # MIDI notes of the pitch histogram: E1 to C8
BINS = 10  # of the histogram, per semitone
PART_SECONDS, MAX_PARTS = 12.5, 10  # of long audio, in which tempo and key are estimated
NEIGHBORHOOD = 24  # bins on each side with which a spectral peak is compared
PROMINENCE = 4.0  # smallest ratio of the power of a peak and the mean of its neighborhood
COMPRESSION = 0.25  # exponent of powers: the square root of amplitudes

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Part:
    """A part of the audio: its first and last frame, and its pitch histograms (segments, NOTES * BINS)."""

    first: int
    stop: int
    pitches: Floats


@dataclass(frozen=True)
class Frames:
    """Band amplitudes (frames, BANDS) at FRAME_RATE, and the parts from which tempo and key are estimated."""

    bands: Floats
    parts: tuple[Part, ...]


def analyze(stream: Stream, rate: int) -> Frames:
    """Analyze a stream of any rate. Powers are summed over channels, so that opposite phases do not cancel."""
    stream = stream.resampled(rate, RATE)
    short, long = _Framer(WINDOW, HOP), _Framer(LONG_WINDOW, LONG_HOP)
    spans = part_spans(stream.samples)
    bands = [np.zeros((0, BANDS), np.float32)]
    pitches: list[list[Floats]] = [[np.zeros((0, NOTES * BINS))] for _ in spans]
    done = 0
    for chunk in _padded(stream):
        bands.append(_band_levels(short.push(chunk)))
        frames = long.push(chunk)
        for found, (first, stop) in zip(pitches, spans, strict=True):
            inside = frames[:, max(0, first - done) : max(0, stop - done)]
            found.append(pitch_histograms(_power(inside)))
        done += frames.shape[1]
    count = -(-stream.samples // HOP)
    parts = (
        Part(first * HOPS_PER_SEGMENT, min(stop * HOPS_PER_SEGMENT, count), np.concatenate(found))
        for found, (first, stop) in zip(pitches, spans, strict=True)
    )
    return Frames(np.concatenate(bands)[:count], tuple(parts))


def part_spans(samples: int) -> list[tuple[int, int]]:
    """Return the first and last long frame of each part: all of a clip, or at most MAX_PARTS spread over a long one."""
    frames = -(-samples // LONG_HOP)
    longest = int(PART_SECONDS * RATE / LONG_HOP)
    count = min(-(-frames // longest), MAX_PARTS)
    length = min(longest, -(-frames // max(count, 1)))
    starts = np.linspace(0, frames - length, count).astype(int) if count > 1 else [0] * count
    return [(int(start), int(start) + length) for start in starts]


def _padded(stream: Stream) -> Iterator[Floats]:
    """Yield chunks of the stream, then silence that completes the last frames."""
    yield from stream.chunks(max(LONG_HOP, 2 * CHUNK // max(2, stream.channels)))
    yield np.zeros((stream.channels, LONG_WINDOW), np.float32)


class _Framer:
    """Cut audio that arrives in chunks into overlapping frames, centered on multiples of the hop."""

    def __init__(self, size: int, hop: int) -> None:
        self._size, self._hop = size, hop
        self._held: Floats | None = None

    def push(self, chunk: Floats) -> Floats:
        """Return the frames (channels, frames, size) that a chunk completes."""
        if self._held is None:
            self._held = np.zeros((len(chunk), self._size // 2), np.float32)
        audio = np.concatenate([self._held, chunk], axis=1)
        count = max(0, (audio.shape[1] - self._size) // self._hop + 1)
        self._held = audio[:, count * self._hop :]
        if not count:
            return np.zeros((len(chunk), 0, self._size), np.float32)
        return np.lib.stride_tricks.sliding_window_view(audio, self._size, axis=1)[:, :: self._hop][:, :count]


def _power(frames: Floats) -> Floats:
    """Power (frames, size / 2 + 1) of frames (channels, frames, size), summed over channels."""
    window = np.hanning(frames.shape[2]).astype(np.float32)
    power = np.zeros((frames.shape[1], frames.shape[2] // 2 + 1), np.float32)
    for channel in frames:
        spectrum = np.fft.rfft(channel * window, axis=1)
        power += spectrum.real**2 + spectrum.imag**2
    return power


@lru_cache(maxsize=1)
def _filters() -> Floats:
    return mel_filter_bank(BANDS, WINDOW, RATE).T.astype(np.float32)


def _band_levels(frames: Floats) -> Floats:
    """Amplitude (frames, BANDS) of mel bands."""
    return np.sqrt(_power(frames) @ _filters())


def pitch_histograms(power: Floats) -> Floats:
    """Histograms (frames, NOTES * BINS) of the compressed amplitudes of spectral peaks in power (frames, bins)."""
    first, last = (int(_hz(note) * LONG_WINDOW / RATE) for note in (LOWEST - 0.5, LOWEST + NOTES - 0.5))
    part = power[:, first - NEIGHBORHOOD : last + NEIGHBORHOOD + 1].astype(np.float64)
    total = np.cumsum(np.pad(part, ((0, 0), (1, 0))), axis=1)
    width = 2 * NEIGHBORHOOD + 1
    around = (total[:, width:] - total[:, :-width]) / width
    middle = part[:, NEIGHBORHOOD : NEIGHBORHOOD + around.shape[1]]
    before, after = part[:, NEIGHBORHOOD - 1 :][:, : middle.shape[1]], part[:, NEIGHBORHOOD + 1 :][:, : middle.shape[1]]
    frame, place = np.nonzero((middle > before) & (middle >= after) & (middle > PROMINENCE * around))
    a, b, c = (np.log(np.maximum(row[frame, place], 1e-30)) for row in (before, middle, after))
    offset = 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-9)
    hz = (first + place + np.clip(offset, -0.5, 0.5)) * RATE / LONG_WINDOW
    position = (69 + 12 * np.log2(hz / 440) - LOWEST + 0.5) * BINS - 0.5
    low = np.floor(position).astype(int)
    weight = middle[frame, place] ** COMPRESSION
    out = np.zeros((len(power), NOTES * BINS))
    for at, share in ((low, 1 - position + low), (low + 1, position - low)):
        inside = (at >= 0) & (at < out.shape[1])
        np.add.at(out, (frame[inside], at[inside]), (weight * share)[inside])
    return out


def _hz(note: float) -> float:
    return float(440 * 2 ** ((note - 69) / 12))
