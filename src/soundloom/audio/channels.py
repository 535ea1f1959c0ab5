"""How many channels a sound has, and the rules to change that."""

import numpy as np

from soundloom.errors import AudioError


def to_stereo(audio: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Make (2, n) of (c, n), with a sentence for the user when channels were dropped.

    The published rule: mono is duplicated, of more than two channels the first two are kept.
    """
    dropped = audio.shape[0] - 2
    note = f"the sound has {audio.shape[0]} channels; only the first two are used" if dropped > 0 else None
    return (np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio[:2]), note


def to_channels(audio: np.ndarray, channels: int) -> np.ndarray:
    """Make (channels, n) of (c, n): mono is duplicated, mono is made as the mean, else the first ones are
    kept.

    Raises AudioError where no rule says what the further channels would hold.
    """
    have = audio.shape[0]
    if channels == have:
        return audio
    if channels == 1:
        return audio.mean(axis=0, keepdims=True, dtype=np.float32)
    if have == 1:
        return np.repeat(audio, channels, axis=0)
    if channels > have:
        raise AudioError(f"{channels} channels cannot be made of {have}", "ask for mono or stereo")
    return audio[:channels]
