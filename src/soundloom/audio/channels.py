"""Convert audio to another number of channels."""

import numpy as np

from soundloom.errors import AudioError


def to_stereo(audio: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Convert (c, n) to (2, n), and return a warning if channels were dropped.

    As in the published code, mono is duplicated, and channels after the second are dropped.
    """
    dropped = audio.shape[0] - 2
    note = f"the audio has {audio.shape[0]} channels; only the first two are used" if dropped > 0 else None
    return (np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio[:2]), note


def to_channels(audio: np.ndarray, channels: int) -> np.ndarray:
    """Convert (c, n) to (channels, n): average to mono, duplicate mono, or drop channels at the end.

    Raises AudioError if channels would have to be added to more than one.
    """
    have = audio.shape[0]
    if channels == have:
        return audio
    if channels == 1:
        return audio.mean(axis=0, keepdims=True, dtype=np.float32)
    if have == 1:
        return np.repeat(audio, channels, axis=0)
    if channels > have:
        raise AudioError(f"cannot convert {have} channels to {channels}", "use mono or stereo")
    return audio[:channels]
