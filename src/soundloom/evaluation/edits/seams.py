"""Measure how audible the joint of two parts of a clip is, and the wrap of a loop.

An edge is the first sample after a joint. Sounds are (channels, samples).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from soundloom.audio.channels import to_channels
from soundloom.audio.loudness import integrated_loudness
from soundloom.audio.mel import BANDS, FLOOR, mel_filter_bank

NEAR = 1024  # samples on each side
WINDOW, HOP = 1024, 256
REACH = WINDOW + HOP  # of the flux at a place, on each side
AROUND = 1.0  # seconds on each side
MIN_PLACES = 4  # of flux to compare with
LEAST_DEVIATION = 0.5  # of flux: 0.3 dB in each band, so that no change of a steady tone counts as large
LOUDNESS_SECONDS = 3.0  # on each side
MIN_SIDE = 0.1  # seconds of sound on each side whose loudness is compared
FAINTEST = -70.0  # LUFS


@dataclass(frozen=True)
class Wrap:
    """How the end of a loop joins its start.

    `rank` is the share of steps between samples nearby that are smaller than the step from the last sample to the
    first one. `flux` is the z-score of the change of the spectrum there, among those within a second.
    """

    rank: float
    flux: float


@dataclass(frozen=True)
class Seam:
    """How audible a joint is: see `step_rank`, `flux_score` and `loudness_step`. Values that do not exist are NaN."""

    rank: float
    flux: float
    loudness: float


def measure_wrap(audio: np.ndarray, rate: int) -> Wrap:
    """Measure a loop (channels, samples)."""
    half = audio.shape[1] // 2
    rotated = np.roll(audio, half, axis=1)
    return Wrap(step_rank(rotated, half), flux_score(rotated, half, rate))


def measure_seam(audio: np.ndarray, edge: int, rate: int, source: np.ndarray | None = None) -> Seam:
    """Measure the joint at `edge`; the spectral flux is compared with that of `source`, if given."""
    return Seam(step_rank(audio, edge), flux_score(audio, edge, rate, source), loudness_step(audio, edge, rate))


def step_rank(audio: np.ndarray, edge: int, near: int = NEAR) -> float:
    """Return the share of steps within `near` samples that are smaller than the step to sample `edge`.

    Steps are between consecutive samples of (channels, samples); the larger channel counts. NaN at the clip's ends.
    """
    if not 0 < edge < audio.shape[1]:
        return float("nan")
    first = max(0, edge - 1 - near)
    steps = np.abs(np.diff(audio[:, first : edge + near + 1], axis=1)).max(axis=0)
    place = edge - 1 - first
    others = np.delete(steps, place)
    return float((others < steps[place]).mean()) if others.size else float("nan")


def flux_score(audio: np.ndarray, edge: int, rate: int, source: np.ndarray | None = None) -> float:
    """Return the z-score of the spectral flux at `edge`, among the flux within a second on both sides.

    Flux is the Euclidean distance between the log-mel spectra of consecutive Hann windows of mono audio; of all pairs
    of windows that a place lies in, the largest counts. The other places are those of `source`, the untouched sound at
    the same positions. Without it, they are of the clip itself and a window apart from the edge, so that none sees it.
    NaN where there are fewer than four such places.
    """
    at_edge = _fluxes(audio, np.array([edge]), rate)
    far = np.arange(0 if source is not None else 2 * REACH, round(AROUND * rate) + 1, WINDOW)
    others = _fluxes(audio if source is None else source, np.unique([edge - far, edge + far]), rate)
    if not at_edge.size or others.size < MIN_PLACES:
        return float("nan")
    return float((at_edge[0] - others.mean()) / max(float(others.std()), LEAST_DEVIATION))


def _fluxes(audio: np.ndarray, places: NDArray[np.integer], rate: int) -> NDArray[np.float64]:
    """Return the flux at those places that have sound on both sides; they are multiples of HOP apart."""
    places = places[(places >= REACH) & (places <= audio.shape[1] - REACH)]
    if not places.size:
        return np.zeros(0)
    first, last = int(places.min()), int(places.max())
    mono = to_channels(audio[:, first - REACH : last + REACH], 1)[0]
    window = np.hanning(WINDOW)
    power = (np.abs(np.fft.rfft(sliding_window_view(mono, WINDOW)[::HOP] * window)) / window.sum()) ** 2
    spectra = np.log(np.maximum(power @ _filters(rate), FLOOR))
    changes = np.linalg.norm(np.diff(spectra, axis=0), axis=1)
    pairs = 2 * REACH // HOP - WINDOW // HOP
    return np.asarray(sliding_window_view(changes, pairs).max(axis=1)[(places - first) // HOP])


@lru_cache(maxsize=8)
def _filters(rate: int) -> NDArray[np.float64]:
    return np.asarray(mel_filter_bank(BANDS, WINDOW, rate).T)


def loudness_step(audio: np.ndarray, edge: int, rate: int, seconds: float = LOUDNESS_SECONDS) -> float:
    """Return the loudness of up to `seconds` after an edge minus that before it, in LU; levels count from -70 LUFS.

    NaN where one side is shorter than 0.1 s.
    """
    reach = round(seconds * rate)
    before, after = audio[:, max(0, edge - reach) : edge], audio[:, edge : edge + reach]
    if min(before.shape[1], after.shape[1]) < MIN_SIDE * rate:
        return float("nan")
    low, high = (max(integrated_loudness(side, rate), FAINTEST) for side in (before, after))
    return high - low
