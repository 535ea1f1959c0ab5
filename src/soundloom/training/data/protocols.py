"""What stages ask of the sounds that they learn from, wherever these come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]  # (2, n) at the model's rate


class Label(Protocol):
    """What is known of a clip beside its captions."""

    @property
    def family(self) -> str: ...


class Heard(Protocol):
    """A clip that is in memory."""

    @property
    def audio(self) -> Audio: ...

    @property
    def sample_rate(self) -> int: ...


class Captioned(Protocol):
    """Clips of which captions are known, the same number for each."""

    def __len__(self) -> int: ...

    def captions(self, position: int, /) -> Sequence[str]: ...

    def labels(self, position: int, /) -> Label: ...


class SoundSource(Captioned, Protocol):
    """Captioned clips that can be heard."""

    def clip(self, position: int, /) -> Heard: ...

    def audio(self, position: int, /) -> Audio:
        """Samples of a clip."""
        ...

    def sample(self, rng: np.random.Generator, length: int, /) -> tuple[int, Audio]:
        """A random clip's position, and a random piece (2, length) of it."""
        ...
