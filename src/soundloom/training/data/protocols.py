"""The interfaces through which training stages read clips and captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]  # (2, n) at the model's rate


class Label(Protocol):
    """Labels of a clip."""

    @property
    def family(self) -> str: ...


class AudioClip(Protocol):
    """A clip in memory."""

    @property
    def audio(self) -> Audio: ...

    @property
    def sample_rate(self) -> int: ...


class CaptionedClips(Protocol):
    """Clips with captions, equally many for each."""

    def __len__(self) -> int: ...

    def captions(self, position: int, /) -> Sequence[str]: ...

    def labels(self, position: int, /) -> Label: ...


class SoundSource(CaptionedClips, Protocol):
    """Captioned clips with audio."""

    def clip(self, position: int, /) -> AudioClip: ...

    def audio(self, position: int, /) -> Audio: ...

    def sample_crop(self, rng: np.random.Generator, length: int, /) -> tuple[int, Audio]:
        """Sample a clip's position and a random crop (2, length) of it."""
        ...
