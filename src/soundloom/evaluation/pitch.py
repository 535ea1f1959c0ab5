"""Pitch of a single note of known timbre: spectral peaks against the partials that an instrument has.

Bells have no harmonic series, and their lowest partial is not the note; so the estimate is told which partials to
expect, and not where.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import Labels
from soundloom.datasets.synthetic.sounds.voices import VOICES

LOWEST_HZ, HIGHEST_HZ = 20.0, 10_000.0  # of a note
TOP_HZ = 16_000.0  # of a partial
MOST_PEAKS = 50
WEAKEST = 10 ** (-50 / 20)  # relative to the strongest peak
APART = 30.0  # cents within which two peaks count as one
WIDTH = 20.0  # cents, standard deviation of the tolerance for a partial
COMPRESSION = 0.5  # power of amplitudes, so that faint partials help to tell octaves
WAVES = {
    "sine": (1.0,),
    "square": tuple(1 / k if k % 2 else 0.0 for k in range(1, 24)),
    "sawtooth": tuple(1 / k for k in range(1, 25)),
    "triangle": tuple(1 / k**2 if k % 2 else 0.0 for k in range(1, 12)),
}

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Peaks:
    """Frequencies (p,) in Hz and amplitudes (p,) of the peaks of a clip's spectrum, in rising frequency."""

    hz: Floats
    amplitude: Floats


@dataclass(frozen=True)
class Partials:
    """Ratios (r,) of a timbre's partials to its note, and their amplitudes (r,)."""

    ratios: Floats
    amplitudes: Floats


@dataclass(frozen=True)
class Pitch:
    """A note in Hz, and from 0 to 1 how well the peaks are those of the timbre on this note."""

    hz: float
    match: float


def cents(hz: float, reference: float) -> float:
    """Interval from a reference, 100 to a semitone."""
    return float(1200 * np.log2(hz / reference))


def spectral_peaks(audio: NDArray, rate: int) -> Peaks:
    """Peaks of the spectrum of the whole clip (channels, samples), whose channels are added in power."""
    samples = audio.shape[1]
    size = 1 << (2 * samples - 1).bit_length()
    power = np.abs(np.fft.rfft(audio * np.hanning(samples), size, axis=1)) ** 2
    amplitude = np.sqrt(power.sum(axis=0))
    hz = np.fft.rfftfreq(size, 1 / rate)
    inside = (hz[1:-1] >= LOWEST_HZ / 2) & (hz[1:-1] < TOP_HZ)
    middle = amplitude[1:-1]
    found = 1 + np.flatnonzero(inside & (middle > amplitude[:-2]) & (middle >= amplitude[2:]))
    found = found[amplitude[found] > WEAKEST * amplitude.max(initial=0.0)]
    found = found[np.argsort(-amplitude[found], kind="stable")][: 8 * MOST_PEAKS]
    kept = _strongest_apart(hz[found])
    places = np.sort(found[kept][:MOST_PEAKS])
    return Peaks(hz[places], amplitude[places])


def _strongest_apart(hz: Floats) -> list[int]:
    """Positions of peaks, given from strong to weak, that have no stronger one within `APART`."""
    kept: list[int] = []
    position = 1200 * np.log2(hz)
    for i, place in enumerate(position):
        if not kept or np.abs(position[kept] - place).min() > APART:
            kept.append(i)
    return kept


def estimate_pitch(peaks: Peaks, partials: Partials) -> Pitch | None:
    """The note on which the timbre explains the peaks best; None where there are no peaks in range."""
    notes = (peaks.hz[:, None] / partials.ratios).ravel()
    notes = notes[(notes > LOWEST_HZ) & (notes < HIGHEST_HZ)]
    if not notes.size:
        return None
    near = _nearness(peaks, partials, notes)  # (notes, ratios, peaks)
    expected = np.where(notes[:, None] * partials.ratios < TOP_HZ, partials.amplitudes, 0.0) ** COMPRESSION
    found = peaks.amplitude**COMPRESSION
    score = np.einsum("nr,nrp,p->n", expected, near, found)
    score /= np.linalg.norm(expected, axis=1) * np.linalg.norm(found) + np.finfo(float).tiny
    best = int(score.argmax())
    return Pitch(_refined(notes[best], peaks, partials, near[best]), float(min(score[best], 1.0)))


def _nearness(peaks: Peaks, partials: Partials, notes: Floats) -> Floats:
    """How near each peak is to where a note has each partial, 0 to 1, (notes, ratios, peaks)."""
    wanted = 1200 * np.log2(notes[:, None] * partials.ratios)
    distance = (wanted[:, :, None] - 1200 * np.log2(peaks.hz)) / WIDTH
    return np.exp(-0.5 * distance**2)


def _refined(note: float, peaks: Peaks, partials: Partials, near: Floats) -> float:
    """The note that the matched peaks name together, weighed by amplitude."""
    weight = near * peaks.amplitude * (partials.amplitudes > 0)[:, None]
    offsets = np.log2(peaks.hz / (note * partials.ratios[:, None]))
    return float(note * 2 ** ((weight * offsets).sum() / weight.sum()))


def partials_of(labels: Labels) -> Partials | None:
    """The partials of the single note that labels ask for; None where they ask for none, or for a sweep."""
    if not labels.hz or labels.hz_to or labels.key:
        return None
    if labels.variant in VOICES:
        return voice_partials(labels.variant, round(labels.brightness, 1))
    return wave_partials(labels.variant or "sine")


@lru_cache
def wave_partials(shape: str) -> Partials:
    """Partials of a sine, square, sawtooth or triangle."""
    return _present(np.arange(1.0, len(WAVES[shape]) + 1), np.array(WAVES[shape]))


@lru_cache
def voice_partials(name: str, brightness: float = 0.5) -> Partials:
    """Partials of an instrument of the synthetic world."""
    voice = VOICES[name]
    ratios = np.array(voice.ratios or range(1, len(voice.amplitudes) + 1), float)
    return _present(ratios, np.array(voice.amplitudes) * ratios ** (2.0 * (brightness - 0.5)))


def _present(ratios: Floats, amplitudes: Floats) -> Partials:
    there = amplitudes > 0
    return Partials(ratios[there], amplitudes[there])
