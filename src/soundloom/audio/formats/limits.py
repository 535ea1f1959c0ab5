"""How much memory a sound may take, known before its samples are decoded."""

from __future__ import annotations

from soundloom.errors import AudioError
from soundloom.memory import free_memory

SAMPLE_BYTES = 4  # float32
ALWAYS_DECODED = 2**29  # bytes of samples that any file may hold
ALWAYS_STREAMED = 2**31  # bytes of samples of a file that is read in blocks: 1.7 hours of stereo at 44.1 kHz
MOST_EXPANSION = 128  # times a longer file's own size; speech at 12 kbit/s takes as much, silence in FLAC far more
MEMORY_SHARE = 0.5  # of the memory that is free


def most_frames(file_bytes: int, channels: int) -> int:
    """How many samples per channel a file of this size is decoded to at most."""
    most = max(ALWAYS_DECODED, MOST_EXPANSION * file_bytes)
    if (free := free_memory()) is not None:
        most = min(most, int(MEMORY_SHARE * free))
    return most // (SAMPLE_BYTES * max(1, channels))


def most_streamed_frames(file_bytes: int, channels: int) -> int:
    """The same of a file that is read in blocks, whose length costs time alone."""
    return max(ALWAYS_STREAMED, MOST_EXPANSION * file_bytes) // (SAMPLE_BYTES * max(1, channels))


def require_frames(name: str, frames: int, rate: int, most: int) -> None:
    """Raise AudioError for a sound that has or promises more samples per channel than `most`."""
    if frames > most:
        raise AudioError(
            f"{name} holds or promises {frames / rate:.0f} s of sound, and at most {most / rate:.0f} s of it can be "
            "decoded: memory is short, or the file is damaged",
            "cut it into shorter files",
        )
