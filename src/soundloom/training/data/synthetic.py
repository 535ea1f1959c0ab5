"""Training clips from the synthetic dataset, rendered on first use and cached."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import FAMILIES, SAMPLE_RATE, Labels, SyntheticClip, SyntheticDataset
from soundloom.datasets.synthetic.config import SoundsConfig
from soundloom.datasets.synthetic.tuning import plain, tuned
from soundloom.errors import ConfigError
from soundloom.training.data.augmentation import random_crop

log = logging.getLogger(__name__)

SEARCH = 60  # candidates for each clip, and for a hundred more
GOLDEN = 0.6180339887498949  # its multiples modulo 1 cover a range evenly


class SyntheticSounds:
    """The first `clips` clips of the synthetic dataset that the configuration admits, or fewer if it admits few."""

    def __init__(self, config: SoundsConfig) -> None:
        self.config = config
        self.dataset = SyntheticDataset(config.seed)
        self.numbers = self._admitted(config.clips)
        self._cache: dict[int, NDArray[np.int16]] = {}
        if not self.numbers:
            raise ConfigError(f"no synthetic clip matches {config}", "allow more families or lengths")
        if len(self.numbers) < config.clips:
            log.warning("%d synthetic clips match the configuration, instead of %d", len(self.numbers), config.clips)

    def __len__(self) -> int:
        return len(self.numbers)

    def clip(self, position: int) -> SyntheticClip:
        """Render a clip with its labels and captions."""
        labels = self.labels(position)
        rendered = tuned(labels, self.config.latent_period) if self.config.latent_period else labels
        audio = self.dataset.render(self.numbers[position], rendered)
        return SyntheticClip(audio, SAMPLE_RATE, labels, self.captions(position))

    def labels(self, position: int) -> Labels:
        """Return the labels of a clip without rendering it."""
        return self._labels(self.numbers[position])

    def captions(self, position: int) -> tuple[str, ...]:
        """Return the captions of a clip without rendering it."""
        return self.dataset.captions(self.numbers[position], self.labels(position))

    def audio(self, position: int) -> NDArray[np.float32]:
        """Return samples (2, n), cached as 16-bit integers, since rendering again is slower."""
        if position not in self._cache:
            self._cache[position] = np.round(self.clip(position).audio * 32767).astype(np.int16)
        return self._cache[position].astype(np.float32) / np.float32(32767)

    def sample_crop(self, rng: np.random.Generator, length: int) -> tuple[int, NDArray[np.float32]]:
        """Sample a clip's position and a random crop (2, length) of it, padded with silence.

        Crops of tuned sounds start at the boundary of a latent.
        """
        position = int(rng.integers(len(self)))
        return position, random_crop(self.audio(position), rng, length, self.config.latent_period or 1)

    def _admitted(self, count: int) -> list[int]:
        numbers: list[int] = []
        most = -(-count // len(self.config.families or FAMILIES)) if self.config.balanced else count
        found: Counter[str] = Counter()
        number = 0
        while len(numbers) < count and number < SEARCH * (count + 100):
            labels = self._labels(number)
            if admits(self.config, labels) and found[labels.family] < most:
                numbers.append(number)
                found[labels.family] += 1
            number += 1
        return numbers

    def _labels(self, number: int) -> Labels:
        if not self.config.plain:
            return self.dataset.labels(number)
        shortest, longest = self.config.seconds
        seconds = round(shortest + (longest - shortest) * (number * GOLDEN % 1), 2)
        return plain(self.dataset.labels(number, seconds))


def admits(config: SoundsConfig, labels: Labels) -> bool:
    """Whether the configuration admits clips with these labels."""
    shortest, longest = config.seconds
    return (
        (not config.families or labels.family in config.families)
        and (config.scenes or labels.layer is None)
        and (config.reverb or not labels.reverb)
        and shortest <= labels.seconds <= longest
    )
