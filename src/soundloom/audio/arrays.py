"""Arrays as clips, spans in seconds, and joins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.errors import AudioError, RequestError, shown

USUAL_CHANNELS, MAX_CHANNELS = 8, 1024  # 7.1 surround; the limit of audio files
SCALED = ("int8", "int16", "int32", "uint8", "uint16")  # integers whose full scale is that of audio files


def looks_transposed(channels: int, samples: int) -> bool:
    """Whether a shape is (samples, channels) rather than (channels, samples)."""
    return 0 < samples < channels and (channels > USUAL_CHANNELS >= samples or channels > MAX_CHANNELS)


def as_audio(array: Any) -> np.ndarray:
    """Return any array of samples as float32 (channels, samples), integers scaled to ±1. Raises AudioError."""
    audio = np.asarray(array)
    if audio.ndim == 1:
        audio = audio[None]
    if audio.ndim != 2 or audio.shape[0] == 0:
        raise AudioError(f"a clip needs one or two axes, samples and channels, found the shape {audio.shape}")
    if looks_transposed(*audio.shape):
        audio = audio.T
    scaled = _scaled(audio)
    if not np.isfinite(scaled).all():
        raise AudioError("the array has values that are not finite", "replace them: numpy.nan_to_num(array)")
    return np.ascontiguousarray(scaled)


def _scaled(audio: np.ndarray) -> np.ndarray:
    if audio.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32 means not finite, which is reported
            return audio.astype(np.float32)
    if audio.dtype.name not in SCALED:
        raise AudioError(
            f"a clip needs floats in ±1 or integers of 8, 16 or 32 bits, found {audio.dtype}",
            "divide by full scale, which that type does not say",
        )
    half = 1 << (8 * audio.dtype.itemsize - 1)
    offset = half if audio.dtype.kind == "u" else 0
    return ((audio.astype(np.float64) - offset) / half).astype(np.float32)


def span_in_samples(seconds: Any, samples: int, rate: int) -> tuple[int, int]:
    """Return first and last sample of a slice in seconds, with the rules of Python's slices. Raises RequestError."""
    if not isinstance(seconds, slice):
        raise RequestError(f"a clip is sliced by seconds, found [{shown(seconds)}]", "clip[1.0:2.5]")
    if seconds.step is not None:
        raise RequestError(f"a slice of a clip has no step, found {shown(seconds.step)}", "clip.to(rate=…) resamples")
    ends = (None if end is None else _samples(end, samples, rate) for end in (seconds.start, seconds.stop))
    first, last, _ = slice(*ends).indices(samples)
    return first, max(first, last)


def _samples(seconds: Any, samples: int, rate: int) -> int:
    """Return the sample at a time; times beyond the ends become just that."""
    is_number = isinstance(seconds, int | float | np.integer | np.floating) and not isinstance(seconds, bool)
    if not is_number or math.isnan(seconds):
        raise RequestError(f"the ends of a slice must be seconds, found {shown(seconds)}", "clip[1.0:2.5]")
    limit = samples / rate + 1
    return round(float(min(max(seconds, -limit), limit)) * rate)


def joined(first: np.ndarray, second: np.ndarray, rates: tuple[int, int]) -> np.ndarray:
    """Return (c, n) and (d, m) one after the other, (max(c, d), n + m); mono is duplicated to more channels.

    Raises AudioError for different sample rates, and for channels that cannot be added.
    """
    if rates[0] != rates[1]:
        raise AudioError(
            f"clips of {rates[0]} and {rates[1]} Hz cannot be joined", f"resample one of them: clip.to(rate={rates[0]})"
        )
    channels = max(first.shape[0], second.shape[0])
    return np.concatenate([to_channels(first, channels), to_channels(second, channels)], axis=1)


def whole_number(name: str, value: Any) -> int:
    """Return a positive integer of any type. Raises RequestError."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value != int(value) or value < 1:
        raise RequestError(f"{name} must be a positive integer, found {shown(value)}")
    return int(value)
