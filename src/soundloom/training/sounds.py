"""Clips to train on: a chosen part of the synthetic world, rendered when first asked for and then kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import FAMILIES, SAMPLE_RATE, Labels, SyntheticClip, World, is_held_out, render
from soundloom.errors import ConfigError
from soundloom.training.config import SoundsConfig

SEARCH = 60  # clips of the world looked at for each one that is wanted, and for a hundred more
MATERIAL = "electronic"  # the drum kit of a narrowed world
Number = TypeVar("Number", int, float)


class Sounds:
    """The first `clips` clips of a world that the configuration admits; fewer where it admits few."""

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
        number, labels = self.numbers[position], self.labels(position)
        if not self.config.takes:
            return self.world.sample(number)
        key = [self.config.seed, number % self.config.takes]
        audio = render(labels, labels.seconds, np.random.Generator(np.random.Philox(key=key)))
        return SyntheticClip(audio, SAMPLE_RATE, labels, self.captions(position))

    def labels(self, position: int) -> Labels:
        """Labels of a clip, which is not rendered."""
        return self._labels(self.numbers[position])

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
        seen: Counter[Labels] = Counter()
        number = 0
        while len(numbers) < count and number < SEARCH * (count + 100):
            labels = self._labels(number)  # narrowed, they may be ones that the world itself never draws
            is_common = 0 < self.config.repeats <= seen[labels]
            if admits(self.config, self.world.labels(number)) and not is_common and not is_held_out(labels):
                numbers.append(number)
                seen[labels] += 1
            number += 1
        return numbers

    def _labels(self, number: int) -> Labels:
        labels = self.world.labels(number)
        return narrowed(labels, self.config) if self.config.pitches else labels


def narrowed(labels: Labels, config: SoundsConfig) -> Labels:
    """Move what varies to the nearest of few values, so that a caption means one sound, or one of a few takes."""
    return replace(
        labels,
        seconds=config.seconds[1],
        hz=_nearest(labels.hz, config.pitches),
        bpm=_nearest(labels.bpm, config.tempos),
        material=MATERIAL if labels.bpm else labels.material,
        swing=0.0,
        brightness=0.5,
        pan=0.0,
        pan_to=None,
        level=-3.0,
        fade_in=0.0,
        fade_out=0.0,
    )


def _nearest(value: Number, choices: Sequence[Number]) -> Number:
    """The choice at the smallest ratio to a value; zero, which stands for none, stays."""
    return min(choices, key=lambda choice: abs(np.log(choice / value))) if value else value


def admits(config: SoundsConfig, labels: Labels) -> bool:
    """Whether the configuration takes clips with these labels."""
    shortest, longest = config.seconds
    return (
        (not config.families or labels.family in config.families)
        and (config.scenes or labels.layer is None)
        and (config.reverb or not labels.reverb)
        and shortest <= labels.seconds <= longest
    )
