"""Estimate the pitch of a single note of known timbre from spectral peaks.

Bells are inharmonic and their lowest partial is not the note, so the estimate is given the ratios of the partials;
`audio.measure` knows nothing about the sound, and is unsure of most bells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import Labels
from soundloom.datasets.synthetic.sounds.voices import VOICES

MIN_HZ, MAX_HZ = 20.0, 10_000.0  # of a note
MAX_PARTIAL_HZ = 16_000.0
MAX_PEAKS = 50
MIN_AMPLITUDE = 10 ** (-50 / 20)  # relative to the strongest peak
MIN_DISTANCE = 30.0  # cents; nearer peaks count as one
WIDTH = 20.0  # cents, standard deviation of the tolerance for a partial
COMPRESSION = 0.5  # power of amplitudes, so that faint partials help to distinguish octaves
WAVES = {
    "sine": (1.0,),
    "square": tuple(1 / k if k % 2 else 0.0 for k in range(1, 24)),
    "sawtooth": tuple(1 / k for k in range(1, 25)),
    "triangle": tuple(1 / k**2 if k % 2 else 0.0 for k in range(1, 12)),
}

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Peaks:
    """Frequencies (p,) in Hz and amplitudes (p,) of spectral peaks, by frequency."""

    hz: Floats
    amplitude: Floats


@dataclass(frozen=True)
class Partials:
    """Frequency ratios (r,) and amplitudes (r,) of the partials of a timbre."""

    ratios: Floats
    amplitudes: Floats


@dataclass(frozen=True)
class Pitch:
    """A note in Hz, and how well the peaks match the timbre at this note, from 0 to 1."""

    hz: float
    match: float


def cents(hz: float, reference: float) -> float:
    """Interval from a reference; a semitone is 100."""
    return float(1200 * np.log2(hz / reference))


def spectral_peaks(audio: NDArray, rate: int) -> Peaks:
    """Find the peaks in the power spectrum of a clip (channels, samples), summed over channels."""
    samples = audio.shape[1]
    size = 1 << (2 * samples - 1).bit_length()
    power = np.abs(np.fft.rfft(audio * np.hanning(samples), size, axis=1)) ** 2
    amplitude = np.sqrt(power.sum(axis=0))
    hz = np.fft.rfftfreq(size, 1 / rate)
    inside = (hz[1:-1] >= MIN_HZ / 2) & (hz[1:-1] < MAX_PARTIAL_HZ)
    middle = amplitude[1:-1]
    found = 1 + np.flatnonzero(inside & (middle > amplitude[:-2]) & (middle >= amplitude[2:]))
    found = found[amplitude[found] > MIN_AMPLITUDE * amplitude.max(initial=0.0)]
    found = found[np.argsort(-amplitude[found], kind="stable")][: 8 * MAX_PEAKS]
    strongest = _strongest_apart(hz[found])
    bins = np.sort(found[strongest][:MAX_PEAKS])
    return Peaks(hz[bins], amplitude[bins])


def _strongest_apart(hz: Floats) -> list[int]:
    """Indices of peaks, sorted from strong to weak, without a stronger one within `MIN_DISTANCE`."""
    chosen: list[int] = []
    position = 1200 * np.log2(hz)
    for i, here in enumerate(position):
        if not chosen or np.abs(position[chosen] - here).min() > MIN_DISTANCE:
            chosen.append(i)
    return chosen


def estimate_pitch(peaks: Peaks, partials: Partials) -> Pitch | None:
    """Find the note at which the timbre explains the peaks best; None without peaks in range."""
    notes = (peaks.hz[:, None] / partials.ratios).ravel()
    notes = notes[(notes > MIN_HZ) & (notes < MAX_HZ)]
    if not notes.size:
        return None
    near = _nearness(peaks, partials, notes)  # (notes, ratios, peaks)
    expected = np.where(notes[:, None] * partials.ratios < MAX_PARTIAL_HZ, partials.amplitudes, 0.0) ** COMPRESSION
    found = peaks.amplitude**COMPRESSION
    score = np.einsum("nr,nrp,p->n", expected, near, found)
    score /= np.linalg.norm(expected, axis=1) * np.linalg.norm(found) + np.finfo(float).tiny
    best = int(score.argmax())
    return Pitch(_refined(notes[best], peaks, partials, near[best]), float(min(score[best], 1.0)))


def _nearness(peaks: Peaks, partials: Partials, notes: Floats) -> Floats:
    """Nearness (notes, ratios, peaks) of each peak to each expected partial, 0 to 1."""
    expected = 1200 * np.log2(notes[:, None] * partials.ratios)
    distance = (expected[:, :, None] - 1200 * np.log2(peaks.hz)) / WIDTH
    return np.exp(-0.5 * distance**2)


def _refined(note: float, peaks: Peaks, partials: Partials, near: Floats) -> float:
    """Refine a note by the amplitude-weighted mean of the matched peaks."""
    weight = near * peaks.amplitude * (partials.amplitudes > 0)[:, None]
    offsets = np.log2(peaks.hz / (note * partials.ratios[:, None]))
    return float(note * 2 ** ((weight * offsets).sum() / weight.sum()))


def partials_of(labels: Labels) -> Partials | None:
    """Return the partials of the single note in labels; None without one, or for a sweep."""
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
    """Partials of an instrument of the synthetic dataset."""
    voice = VOICES[name]
    ratios = np.array(voice.ratios or range(1, len(voice.amplitudes) + 1), float)
    return _present(ratios, np.array(voice.amplitudes) * ratios ** (2.0 * (brightness - 0.5)))


def _present(ratios: Floats, amplitudes: Floats) -> Partials:
    present = amplitudes > 0
    return Partials(ratios[present], amplitudes[present])
