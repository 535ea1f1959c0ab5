"""The one way from a sound to the windows that an embedder hears: level, channels, rate, windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_channels
from soundloom.audio.loudness import integrated_loudness
from soundloom.audio.resample import resampled_length
from soundloom.errors import AudioError, RequestError
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.recipes import Recipe
from soundloom.evaluation.windows import plan_windows

SILENCE = 1e-4  # peak, -80 dBFS
CLIPPED = 3  # samples in a row at the same magnitude of full scale or beyond
SHORTEST = 0.05  # seconds
PEAK = 10 ** (-1 / 20)
LOUDNESS = -23.0  # LUFS
QUALITY = "HQ"

Floats = NDArray[np.float32]
Fault = Literal["silent", "not finite", "clipped", "too short"]
UNUSABLE: frozenset[Fault] = frozenset(("silent", "not finite", "too short"))


def faults(audio: NDArray, rate: int) -> tuple[Fault, ...]:
    """Return what is wrong with a clip (channels, samples) before its level is changed.

    "clipped" clips can still be embedded; the other faults make a clip a failure.
    """
    if audio.shape[1] < SHORTEST * rate:
        return ("too short",)
    if not np.isfinite(audio).all():
        return ("not finite",)
    peak = max(audio.max(), -audio.min())  # without a copy, for sounds may be long
    found: list[Fault] = ["silent"] if peak < SILENCE else []
    if peak >= 1.0 and _is_clipped(np.abs(audio)):
        found.append("clipped")
    return tuple(found)


def _is_clipped(magnitude: NDArray) -> bool:
    full = magnitude >= 1.0
    runs = full[:, : -CLIPPED + 1].copy()
    for shift in range(1, CLIPPED):
        runs &= full[:, shift : full.shape[1] - CLIPPED + 1 + shift]
    return bool(runs.any())


def require_fit(recipe: Recipe, info: EmbedderInfo) -> None:
    """Raise RequestError if the windows of a recipe are not those that an embedder hears."""
    if recipe.window and round(recipe.window * info.rate) != info.window:
        raise RequestError(
            f"the recipe {recipe.name} has windows of {recipe.window:g} s, "
            f"but {info.name} hears {info.window / info.rate:g} s",
            "use --recipe soundloom, or another embedder",
        )


@dataclass(frozen=True)
class Prepared:
    """A clip (channels, samples) as an embedder hears it, the first samples of its windows, and how full each is.

    Iterating cuts one window (samples,), or (2, samples), at a time: overlapping windows of a long clip take many
    times its memory.
    """

    sound: Floats
    starts: tuple[int, ...]
    filled: tuple[int, ...]
    length: int  # of a window
    info: EmbedderInfo

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Floats]:
        for start in self.starts:
            window = _window(self.sound, start, self.length, self.info)
            yield window if self.info.channels > 1 else window[0]

    @property
    def windows(self) -> Floats:
        """All windows (b, samples), or (b, 2, samples)."""
        return np.stack(list(self))


def batches(windows: Iterable[Floats], size: int) -> Iterator[Floats]:
    """Yield windows in arrays (b, …) of up to `size`."""
    rest = iter(windows)
    while batch := list(islice(rest, size)):
        yield np.stack(batch)


def prepare(audio: NDArray, rate: int, info: EmbedderInfo, recipe: Recipe) -> Prepared:
    """Cut a clip (channels, samples) into windows for an embedder. Raises AudioError for an unusable clip."""
    if unusable := UNUSABLE.intersection(faults(audio, rate)):
        raise AudioError(f"the clip is {' and '.join(sorted(unusable))}, so it has no embedding")
    mixed = to_channels(audio, info.channels).astype(np.float32)
    sound = _leveled(_resampled(mixed, rate, info.rate), info.rate, recipe.level)
    window = round(recipe.window * info.rate) or info.window
    plan = plan_windows(sound.shape[1], window, round(recipe.hop * info.rate) or window, recipe.tail)
    return Prepared(sound, plan.starts, plan.filled, window, info)


def _resampled(audio: Floats, rate: int, to_rate: int) -> Floats:
    if rate == to_rate:
        return audio
    import soxr

    length = resampled_length(audio.shape[1], rate, to_rate)
    padding = 2 * -(-rate // to_rate)  # soxr may end some samples early
    padded = np.pad(audio, ((0, 0), (0, padding))).T
    return np.ascontiguousarray(soxr.resample(padded, rate, to_rate, quality=QUALITY)[:length].T)


def _leveled(audio: Floats, rate: int, level: str) -> Floats:
    if level == "none":
        return audio
    peak = float(np.abs(audio).max())
    if peak == 0:
        return audio  # channels that cancel out
    if level == "peak -1 dB":
        return audio * np.float32(PEAK / peak)
    loudness = integrated_loudness(audio, rate)
    if np.isinf(loudness):
        raise AudioError("the clip is too quiet to have a loudness, so it has no embedding")
    return audio * np.float32(10 ** ((LOUDNESS - loudness) / 20))


def _window(sound: Floats, start: int, window: int, info: EmbedderInfo) -> Floats:
    """One window (channels, samples), filled up as the embedder's network was trained."""
    piece = sound[:, start : start + window]
    if info.padding == "repeat" and start == 0 and piece.shape[1] < window:
        piece = np.tile(piece, window // piece.shape[1])
    return np.pad(piece, ((0, 0), (0, window - piece.shape[1])))
