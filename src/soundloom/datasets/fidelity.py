"""Measure how well an autoencoder reconstructs the sounds that it encodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from numpy.typing import NDArray

from soundloom.audio.channels import to_stereo
from soundloom.audio.clip import Clip
from soundloom.audio.mel import log_mel_difference
from soundloom.audio.resample import resample

MAX_DIFFERENCE = 4.0  # dB; also the goal of `soundloom eval` for an autoencoder
COMPARED_SECONDS = 4.0  # at the start of each sound
COMPARED_CLIPS = 5
Encode = Callable[[Clip], NDArray]
Decode = Callable[[NDArray, int], NDArray]  # latents (channels, frames) and samples to (2, samples)


@dataclass(frozen=True)
class Codec:
    """An autoencoder as functions on clips and latents (channels, frames); `decode` is optional."""

    encode: Encode
    sample_rate: int
    ratio: int  # samples per frame
    fingerprint: str  # of the weights
    decode: Decode | None = None

    def difference(self, audio: NDArray, rate: int) -> float:
        """Return the log-mel difference in dB between the start of audio (channels, n) and its reconstruction.

        NaN for silence, or without a decoder.
        """
        if self.decode is None:
            return math.nan
        start, _ = to_stereo(resample(audio[:, : round(COMPARED_SECONDS * rate)], rate, self.sample_rate))
        decoded = self.decode(self.encode(Clip(start, self.sample_rate)), start.shape[1])
        return log_mel_difference(decoded, start, self.sample_rate)


def fidelity_warning(name: str, differences: Sequence[float]) -> str:
    """Return a warning when the median difference in dB is too large, else an empty string; NaN is ignored."""
    known = [value for value in differences if not math.isnan(value)]
    if not known or median(known) <= MAX_DIFFERENCE:
        return ""
    sounds, they = ("these sounds", "they differ") if len(known) > 1 else ("this sound", "it differs")
    measure = f"median log-mel difference of {len(known)}" if len(known) > 1 else "log-mel difference"
    return (
        f"the autoencoder of {name} does not reconstruct {sounds} well: decoded, {they} by {median(known):.1f} dB "
        f"({measure}; {MAX_DIFFERENCE:g} dB or less is usual), and no model of its latents can sound better"
    )
