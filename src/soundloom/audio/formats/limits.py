"""Limits of audio files: sample rates, and memory of decoded samples, checked before decoding."""

from __future__ import annotations

from soundloom.errors import AudioError
from soundloom.memory import free_memory

MIN_RATE, MAX_RATE = 4000, 768_000  # Hz, of audio that is read, resampled and written
SAMPLE_BYTES = 4  # float32
ALWAYS_DECODED = 2**29  # bytes of samples that any file may expand to
ALWAYS_STREAMED = 2**31  # the same when read in blocks: 1.7 hours of stereo at 44.1 kHz
MAX_EXPANSION = 128  # bytes of samples per byte of a larger file; speech at 12 kbit/s reaches it
MEMORY_SHARE = 0.5  # of the available memory


def max_frames(file_bytes: int, channels: int) -> int:
    """Return the largest number of samples per channel to decode from a file of this size."""
    limit = max(ALWAYS_DECODED, MAX_EXPANSION * file_bytes)
    if (free := free_memory()) is not None:
        limit = min(limit, int(MEMORY_SHARE * free))
    return limit // (SAMPLE_BYTES * max(1, channels))


def max_streamed_frames(file_bytes: int, channels: int) -> int:
    """Return the same for a file that is read in blocks, which costs time but no memory."""
    return max(ALWAYS_STREAMED, MAX_EXPANSION * file_bytes) // (SAMPLE_BYTES * max(1, channels))


def require_frames(name: str, frames: int, rate: int, limit: int) -> None:
    """Raise AudioError if a file claims more than `limit` samples per channel."""
    if frames > limit:
        raise AudioError(
            f"{name} claims {frames / rate:.0f} s of audio, but at most {limit / rate:.0f} s can be decoded: "
            "memory is short, or the file is damaged",
            "split it into shorter files",
        )
