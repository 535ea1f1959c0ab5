"""Measure how audible the joint of two parts of a clip is, and the wrap of a loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from soundloom.audio.channels import to_channels
from soundloom.audio.mel import BANDS, FLOOR, mel_filter_bank

NEAR = 1024  # samples on each side
WINDOW, HOP = 1024, 256
AROUND = 1.0  # seconds on each side


@dataclass(frozen=True)
class Wrap:
    """How the end of a loop joins its start.

    `rank` is the share of steps between samples nearby that are smaller than the step from the last sample to the
    first one. `flux` is the z-score of the change of the spectrum there, among those within a second.
    """

    rank: float
    flux: float


def measure_wrap(audio: np.ndarray, rate: int) -> Wrap:
    """Measure a loop (channels, samples)."""
    half = audio.shape[1] // 2
    rotated = np.roll(audio, half, axis=1)
    return Wrap(step_rank(rotated, half), flux_score(rotated, half, rate))


def step_rank(audio: np.ndarray, edge: int, near: int = NEAR) -> float:
    """Return the share of steps within `near` samples that are smaller than the step to sample `edge`.

    Steps are between consecutive samples of (channels, samples); the larger channel counts.
    """
    steps = np.abs(np.diff(audio, axis=1)).max(axis=0)
    place = edge - 1
    others = np.concatenate([steps[max(0, place - near) : place], steps[place + 1 : place + 1 + near]])
    return float((others < steps[place]).mean()) if others.size else float("nan")


def flux_score(audio: np.ndarray, edge: int, rate: int) -> float:
    """Return the z-score of the spectral flux at `edge`, among the flux within a second on both sides.

    Flux is the Euclidean distance between the log-mel spectra of consecutive Hann windows of mono audio; of all pairs
    of windows that a place lies in, the largest counts. Other places are a window apart, so that none sees the edge.
    """
    reach = WINDOW + HOP
    mono = to_channels(audio, 1)[0]
    window = np.hanning(WINDOW)
    filters = mel_filter_bank(BANDS, WINDOW, rate).T

    def flux(place: int) -> float:
        around = mono[place - reach : place + reach]
        power = (np.abs(np.fft.rfft(sliding_window_view(around, WINDOW)[::HOP] * window)) / window.sum()) ** 2
        spectra = np.log(np.maximum(power @ filters, FLOOR))
        return float(np.linalg.norm(np.diff(spectra, axis=0), axis=1).max())

    first, last = max(reach, edge - round(AROUND * rate)), min(len(mono) - reach, edge + round(AROUND * rate))
    places = [*range(edge - 2 * reach, first - 1, -WINDOW), *range(edge + 2 * reach, last + 1, WINDOW)]
    if not places or not first <= edge <= last:
        return float("nan")
    others = [flux(place) for place in places]
    return (flux(edge) - float(np.mean(others))) / max(float(np.std(others)), 1e-9)
