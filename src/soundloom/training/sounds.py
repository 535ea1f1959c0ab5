"""Clips to train on: a chosen part of the synthetic world, rendered when first asked for and then kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import FAMILIES, Labels, SyntheticClip, World
from soundloom.errors import ConfigError
from soundloom.training.config import SoundsConfig


class Sounds:
    """The first `clips` clips of a world that the configuration admits."""

    def __init__(self, config: SoundsConfig) -> None:
        if unknown := set(config.families) - set(FAMILIES):
            named = ", ".join(sorted(unknown))
            raise ConfigError(f"no such families of sounds: {named}", f"known: {', '.join(FAMILIES)}")
        self.config = config
        self.world = World(config.seed)
        self.numbers = self._admitted(config.clips)
        self._kept: dict[int, NDArray[np.int16]] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    def clip(self, position: int) -> SyntheticClip:
        """Render a clip with its labels and captions."""
        return self.world.sample(self.numbers[position])

    def labels(self, position: int) -> Labels:
        """Labels of a clip, which is not rendered."""
        return self.world.labels(self.numbers[position])

    def captions(self, position: int) -> tuple[str, ...]:
        """Captions of a clip, which is not rendered."""
        return self.world.captions(self.numbers[position], self.labels(position))

    def audio(self, position: int) -> NDArray[np.float32]:
        """Samples of a clip, (2, n); kept as 16-bit integers, since drawing them again costs more than memory."""
        if position not in self._kept:
            self._kept[position] = np.round(self.clip(position).audio * 32767).astype(np.int16)
        return self._kept[position].astype(np.float32) / np.float32(32767)

    def crop(self, rng: np.random.Generator, length: int) -> NDArray[np.float32]:
        """A random piece (2, length) of a random clip; a short clip is followed by silence."""
        audio = self.audio(int(rng.integers(len(self))))
        start = int(rng.integers(max(1, audio.shape[1] - length + 1)))
        piece = audio[:, start : start + length]
        return np.pad(piece, ((0, 0), (0, length - piece.shape[1])))

    def _admitted(self, count: int) -> list[int]:
        numbers: list[int] = []
        number = 0
        while len(numbers) < count:
            if admits(self.config, self.world.labels(number)):
                numbers.append(number)
            number += 1
        return numbers


def admits(config: SoundsConfig, labels: Labels) -> bool:
    """Whether the configuration takes clips with these labels."""
    shortest, longest = config.seconds
    return (
        (not config.families or labels.family in config.families)
        and (config.scenes or labels.layer is None)
        and (config.reverb or not labels.reverb)
        and shortest <= labels.seconds <= longest
    )
