"""Process audio in blocks, so that memory does not depend on its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.audio.resample import resample_blocks, resampled_length

BLOCK = 65536  # samples per channel in a stereo block; with more channels, the same number of values


def block_length(channels: int) -> int:
    """Return the samples per channel in a block, such that many channels take no more memory than two."""
    return max(1, 2 * BLOCK // max(2, channels))


@dataclass(frozen=True)
class Stream:
    """Audio of known length; each call of `blocks` yields all of it, as float (channels, n) of any n."""

    channels: int
    samples: int
    blocks: Callable[[], Iterator[np.ndarray]]

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """Yield the audio in contiguous chunks of `size` samples; the last may be shorter."""
        held: list[np.ndarray] = []
        count = 0
        for block in self.blocks():
            while count + block.shape[1] >= size:
                head = size - count
                yield _joined([*held, block[:, :head]])
                block, held, count = block[:, head:], [], 0
            held.append(block)
            count += block.shape[1]
        if count:
            yield _joined(held)

    def peak(self) -> float:
        """Return the highest magnitude; 0 without samples."""
        return max((float(np.abs(block).max(initial=0.0)) for block in self.blocks()), default=0.0)

    def array(self) -> np.ndarray:
        """Return all samples (channels, n)."""
        return np.concatenate([np.empty((self.channels, 0), np.float32), *self.blocks()], axis=1)

    def amplified(self, gain: float) -> Stream:
        """Return the audio multiplied by a gain."""
        return replace(self, blocks=lambda: (block * np.float32(gain) for block in self.blocks()))

    def stereo(self) -> Stream:
        """Return the audio with two channels, as in `to_stereo`."""
        return replace(self, channels=2, blocks=lambda: (to_stereo(block)[0] for block in self.blocks()))

    def resampled(self, from_rate: int, to_rate: int) -> Stream:
        """Return the audio at another rate, bit-identical to `resample` on the complete audio."""
        if from_rate == to_rate:
            return self
        return Stream(
            self.channels,
            resampled_length(self.samples, from_rate, to_rate),
            lambda: resample_blocks(self.blocks(), self.channels, self.samples, from_rate, to_rate),
        )


def as_stream(audio: np.ndarray | Stream) -> Stream:
    """Return a stream over views of an array (channels, samples); a stream is returned unchanged."""
    if isinstance(audio, Stream):
        return audio
    length = block_length(audio.shape[0])
    starts = range(0, audio.shape[1], length)
    return Stream(audio.shape[0], audio.shape[1], lambda: (audio[:, start : start + length] for start in starts))


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(blocks, axis=1))  # blocks of files have another memory order


class SlidingReader:
    """Read spans `reader[..., start:stop]` of a stream with ascending starts, in one pass.

    Holds only the last span and one block. Spans beyond the end are truncated, as with arrays.
    """

    def __init__(self, stream: Stream) -> None:
        self._blocks = stream.blocks()
        self._held = np.empty((stream.channels, 0), np.float32)
        self._start = 0  # of the held samples

    def __getitem__(self, key: tuple[object, slice]) -> np.ndarray:
        start, stop = key[1].start, key[1].stop
        if start < self._start:
            raise ValueError(f"the stream is at {self._start} and cannot go back to {start}")
        parts, end = [self._held], self._start + self._held.shape[1]
        while end < stop and (block := next(self._blocks, None)) is not None:
            if end <= start:  # the held samples are no longer needed
                parts, self._start = [], end
            parts.append(block)
            end += block.shape[1]
        self._held = np.concatenate(parts, axis=1)[:, start - self._start :]
        self._start = min(start, end)
        return self._held[:, : stop - start]
