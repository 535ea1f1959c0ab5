"""How well an autoencoder carries the sounds that are encoded: a few of them are decoded again and compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from numpy.typing import NDArray

from soundloom.audio.channels import to_stereo
from soundloom.audio.clip import Clip
from soundloom.audio.mel import log_mel_difference
from soundloom.audio.resample import resample

USUAL = 4.0  # dB; `soundloom eval` asks the same of an autoencoder
COMPARED_SECONDS = 4.0  # of each sound
COMPARED_SOUNDS = 5
Encode = Callable[[Clip], NDArray]
Decode = Callable[[NDArray, int], NDArray]  # latents (channels, frames) and samples to (2, samples)


@dataclass(frozen=True)
class Codec:
    """The half of a model that turns sound into latents (channels, frames), and perhaps the one back."""

    encode: Encode
    sample_rate: int
    ratio: int  # samples of a frame
    fingerprint: str  # of the weights
    decode: Decode | None = None

    def difference(self, audio: NDArray[Any], rate: int) -> float:
        """Log-mel difference in dB of the beginning of a sound (channels, n) to what is decoded of its latents.

        NaN where nothing is heard, or nothing can be decoded.
        """
        if self.decode is None:
            return math.nan
        start, _ = to_stereo(resample(audio[:, : round(COMPARED_SECONDS * rate)], rate, self.sample_rate))
        made = self.decode(self.encode(Clip(start, self.sample_rate)), start.shape[1])
        return log_mel_difference(made, start, self.sample_rate)


def fidelity_warning(name: str, differences: Sequence[float]) -> str:
    """A sentence about the differences of some sounds; empty where they are as small as usual, or not known."""
    heard = [value for value in differences if not math.isnan(value)]
    if not heard or median(heard) <= USUAL:
        return ""
    sounds, they = ("these sounds", "they differ") if len(heard) > 1 else ("this sound", "it differs")
    measure = f"median log-mel difference of {len(heard)}" if len(heard) > 1 else "log-mel difference"
    return (
        f"the autoencoder of {name} does not carry {sounds} well: decoded, {they} by {median(heard):.1f} dB "
        f"({measure}; {USUAL:g} dB or less is usual), and no model of its latents can sound better"
    )
