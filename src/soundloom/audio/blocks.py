"""Sound in blocks, read again for each pass over it, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.audio.resample import resample_blocks, resampled_length

BLOCK = 65536  # samples per channel in a block of stereo; of more channels as many values


def block_length(channels: int) -> int:
    """Samples per channel in a block: no more memory for many channels than for two."""
    return max(1, 2 * BLOCK // max(2, channels))


@dataclass(frozen=True)
class Stream:
    """Sound of known length; each call of `blocks` yields all of it again, as float (channels, n) of any n."""

    channels: int
    samples: int
    blocks: Callable[[], Iterator[np.ndarray]]

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """Yield the sound in contiguous chunks of `size` samples; the last one has what is left."""
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
        """Return the highest magnitude, 0 for no samples."""
        return max((float(np.abs(block).max(initial=0.0)) for block in self.blocks()), default=0.0)

    def amplified(self, gain: float) -> Stream:
        """Return the sound times a factor."""
        return replace(self, blocks=lambda: (block * np.float32(gain) for block in self.blocks()))

    def stereo(self) -> Stream:
        """Return the sound with two channels, by the rule of `to_stereo`."""
        return replace(self, channels=2, blocks=lambda: (to_stereo(block)[0] for block in self.blocks()))

    def resampled(self, from_rate: int, to_rate: int) -> Stream:
        """Return the sound at another rate: bit for bit what `resample` makes of the whole."""
        if from_rate == to_rate:
            return self
        return Stream(
            self.channels,
            resampled_length(self.samples, from_rate, to_rate),
            lambda: resample_blocks(self.blocks(), self.channels, self.samples, from_rate, to_rate),
        )


def as_stream(audio: np.ndarray | Stream) -> Stream:
    """Return a stream of an array (channels, samples), whose blocks are views; a stream is returned as it is."""
    if isinstance(audio, Stream):
        return audio
    length = block_length(audio.shape[0])
    starts = range(0, audio.shape[1], length)
    return Stream(audio.shape[0], audio.shape[1], lambda: (audio[:, start : start + length] for start in starts))


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(blocks, axis=1))  # files give blocks in the other order


class SlidingReader:
    """Read spans `reader[..., start:stop]` of a stream, in ascending order of their starts, in one pass over it.

    Holds no more than the last span and a block. As with arrays, a span that reaches beyond the end is cut there.
    """

    def __init__(self, stream: Stream) -> None:
        self._blocks = stream.blocks()
        self._held = np.empty((stream.channels, 0), np.float32)
        self._start = 0  # of what is held

    def __getitem__(self, key: tuple[object, slice]) -> np.ndarray:
        start, stop = key[1].start, key[1].stop
        if start < self._start:
            raise ValueError(f"the stream was read to {self._start} and cannot go back to {start}")
        parts, end = [self._held], self._start + self._held.shape[1]
        while end < stop and (block := next(self._blocks, None)) is not None:
            if end <= start:  # nothing of what is held is asked for any more
                parts, self._start = [], end
            parts.append(block)
            end += block.shape[1]
        self._held = np.concatenate(parts, axis=1)[:, start - self._start :]
        self._start = min(start, end)
        return self._held[:, : stop - start]
