"""What a metric can hear: does a distance grow with damage to sounds, dose by dose?

Clean sounds are damaged in steps. The Fréchet distance of each step from the clean set is correlated in ranks with the
dose: 1 means that every step is heard in order. An embedder at 16 kHz hears nothing above 8 kHz, so filters up there
are left out for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.resample import resample_loop
from soundloom.errors import RequestError
from soundloom.evaluation.distances.frechet import frechet_distance
from soundloom.evaluation.embedders.base import Embedder, Floats, TextEmbedder
from soundloom.evaluation.frontend import prepare
from soundloom.evaluation.recipes import DEFAULT_RECIPE, find_recipe
from soundloom.evaluation.statistics.intervals import rank_correlation

NOISE = (40.0, 30.0, 20.0, 10.0)  # dB signal to noise
CUTOFFS = (16000.0, 8000.0, 4000.0, 2000.0, 1000.0)  # Hz
CLIPPING = (0.01, 0.05, 0.1, 0.2)  # share of samples
SPEEDS = (0.025, 0.05, 0.1, 0.2)  # relative change
SWAPS = (0.25, 0.5, 0.75, 1.0)  # share of clips
REQUIRED = 0.9  # rank correlation
_EDGE = 0.1  # of a filter, relative to its cutoff

Sounds = Sequence[NDArray[np.float32]]
Damage = Callable[[NDArray[np.float32], int], NDArray[np.float32]]


@dataclass(frozen=True)
class LadderRow:
    """One kind of damage: its doses in rising order with distances; the first is no damage, and its distance 0."""

    name: str
    unit: str
    doses: tuple[float, ...]
    distances: tuple[float, ...]

    @property
    def correlation(self) -> float:
        """Rank correlation of dose and distance; the order of doses counts, not their values."""
        return rank_correlation(range(len(self.doses)), self.distances)

    @property
    def passed(self) -> bool:
        return self.correlation >= REQUIRED


def ladder(
    embedder: Embedder, sounds: Sounds, others: Sounds, rate: int, log: Callable[[str], None] | None = None
) -> list[LadderRow]:
    """Damage sounds (channels, n) step by step, and measure each step. `others` are of another class, for swaps.

    Raises RequestError for fewer than 2 sounds of a class, AudioError for one that has no embedding.
    """
    if min(len(sounds), len(others)) < 2:
        raise RequestError(f"a ladder needs 2 sounds of each class, found {len(sounds)} and {len(others)}")
    clean = _embed(embedder, sounds, rate)

    def row(name: str, unit: str, doses: Sequence[float], damage: Callable[[float], Damage]) -> LadderRow:
        distances = [frechet_distance(clean, clean)]
        for dose in doses:
            damaged = [damage(dose)(sound, number) for number, sound in enumerate(sounds)]
            distances.append(frechet_distance(clean, _embed(embedder, damaged, rate)))
        if log:
            log(name)
        return LadderRow(name, unit, (0.0, *doses), tuple(distances))

    audible = [cutoff for cutoff in CUTOFFS if cutoff < 0.99 * embedder.info.rate / 2]
    return [
        row("white noise", "dB", NOISE, lambda dose: partial(add_noise, snr=dose)),
        row("low-pass", "Hz", audible, lambda dose: partial(low_pass, rate=rate, cutoff=dose)),
        row("clipping", "share", CLIPPING, lambda dose: partial(clip, share=dose)),
        row("faster", "share", SPEEDS, lambda dose: partial(change_speed, change=dose)),
        row("slower", "share", SPEEDS, lambda dose: partial(change_speed, change=-dose)),
        _swaps(embedder, clean, sounds, others, rate),
    ]


def caption_preference(embedder: TextEmbedder, sounds: Sounds, captions: Sequence[str], rate: int) -> float:
    """Return the share of pairs of clips in which a caption prefers its own clip to the other."""
    texts = embedder.embed_text(captions)
    recipe = find_recipe(DEFAULT_RECIPE, embedder.info.name)
    means = [embedder.embed(prepare(sound, rate, embedder.info, recipe).windows).mean(axis=0) for sound in sounds]
    scores = texts @ np.stack(means).T
    better = np.diag(scores)[:, None] > scores
    return float(better[~np.eye(len(scores), dtype=bool)].mean())


def _swaps(embedder: Embedder, clean: Floats, sounds: Sounds, others: Sounds, rate: int) -> LadderRow:
    """Exchange clips for those of another class, in a fixed random order."""
    count = min(len(sounds), len(others))
    order = np.random.Generator(np.random.Philox(1)).permutation(count)
    distances = [frechet_distance(clean, clean)]
    for share in SWAPS:
        swapped = set(order[: round(share * count)].tolist())
        mixed = [others[i] if i in swapped else sound for i, sound in enumerate(sounds[:count])]
        distances.append(frechet_distance(clean, _embed(embedder, mixed, rate)))
    return LadderRow("another class", "share", (0.0, *SWAPS), tuple(distances))


def _embed(embedder: Embedder, sounds: Sounds, rate: int) -> Floats:
    recipe = find_recipe(DEFAULT_RECIPE, embedder.info.name)
    return np.concatenate([embedder.embed(prepare(sound, rate, embedder.info, recipe).windows) for sound in sounds])


def add_noise(sound: NDArray[np.float32], number: int, snr: float) -> NDArray[np.float32]:
    """Add white noise; `number` chooses which. `snr` is in dB."""
    noise = np.random.Generator(np.random.Philox(number)).standard_normal(sound.shape)
    level = np.sqrt(np.mean(sound.astype(np.float64) ** 2)) * 10 ** (-snr / 20)
    return np.asarray(sound + level * noise, np.float32)


def low_pass(sound: NDArray[np.float32], number: int, rate: int, cutoff: float) -> NDArray[np.float32]:
    """Remove frequencies above `cutoff` in hertz, with an edge of a tenth of it."""
    spectrum = np.fft.rfft(sound.astype(np.float64), axis=1)
    position = (np.fft.rfftfreq(sound.shape[1], 1 / rate) / cutoff - 1) / _EDGE
    gain = 0.5 + 0.5 * np.cos(np.pi * np.clip(position, 0, 1))
    return np.asarray(np.fft.irfft(spectrum * gain, sound.shape[1], axis=1), np.float32)


def clip(sound: NDArray[np.float32], number: int, share: float) -> NDArray[np.float32]:
    """Limit the loudest `share` of samples to the magnitude of the softest of them."""
    limit = np.quantile(np.abs(sound), 1 - share)
    return np.clip(sound, -limit, limit)


def change_speed(sound: NDArray[np.float32], number: int, change: float) -> NDArray[np.float32]:
    """Play faster by a relative `change`, and higher in pitch, or slower where it is negative; the length stays."""
    length = sound.shape[1]
    played = resample_loop(sound, length, length, round(length / (1 + change)))
    return np.asarray(np.tile(played, 2)[:, :length], np.float32)
