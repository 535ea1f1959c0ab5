"""Find the tempo at which a loop plays a rhythm that the prompt names: match its onsets with it at every tempo.

This tests a given rhythm and always answers, while `audio.measure` estimates the tempo of unknown audio, or is unsure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.datasets.synthetic import Labels
from soundloom.datasets.synthetic.sounds.drums import ACCENTS, GROOVES, SOLO_BARS, STEPS_PER_BEAT
from soundloom.datasets.synthetic.sounds.music import BASS_BARS, MELODY_RHYTHMS

HOP, WINDOW = 256, 1024  # samples
EDGES = (0.0, 200.0, 4500.0)  # lower edges of the bands in Hz: kicks, snares and similar, cymbals
LOW, MIDDLE, HIGH = range(3)
BAND_OF = {"kick": LOW, "tom": LOW, "closed hi-hat": HIGH, "open hi-hat": HIGH, "shaker": HIGH, "crash cymbal": HIGH}
FLOOR = 1e-3  # of the loudest frame's amplitude; changes below it are ignored
COMPRESSION = 0.5  # power of amplitudes
SMOOTHING = 0.012  # seconds, standard deviation of the tolerance for an onset
MIN_BPM, MAX_BPM, SPACING = 50.0, 200.0, 1.005  # BPM of the candidates, and the ratio of neighbors
SWING = 1 / 3
BEATS_PER_BAR, EIGHTHS_PER_BAR = 4, 8

Floats = NDArray[np.floating]
Onset = tuple[float, int, float]  # beats from the start of the bar, band, strength
Rhythm = tuple[Onset, ...]  # of one bar


@dataclass(frozen=True)
class Tempo:
    """Beats per minute, and how well the onsets match the rhythm at this tempo, from 0 to 1."""

    bpm: float
    match: float


def fit_tempo(audio: NDArray, rate: int, rhythms: Sequence[Rhythm]) -> Tempo | None:
    """Find the tempo at which one of the rhythms, at any phase, predicts the onsets of audio (channels, samples) best.

    None for a clip without onsets.
    """
    frame_rate = rate / HOP
    envelope = _smooth(onset_envelope(audio, rate), frame_rate)
    strength = np.linalg.norm(envelope)
    if not strength:
        return None
    count = int(np.log(MAX_BPM / MIN_BPM) / np.log(SPACING)) + 1
    candidates = MIN_BPM * SPACING ** np.arange(count)
    scores = np.max([_matches(envelope / strength, frame_rate, candidates, rhythm) for rhythm in rhythms], axis=0)
    best = int(scores.argmax())
    return Tempo(float(candidates[best]), float(scores[best]))


def onset_envelope(audio: NDArray, rate: int) -> Floats:
    """Rise of the level between frames, (bands, frames), each band relative to its maximum."""
    mono = np.pad(audio.mean(axis=0, dtype=np.float64), WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2
    starts = np.searchsorted(np.fft.rfftfreq(WINDOW, 1 / rate), EDGES)
    amplitude = np.sqrt(np.add.reduceat(power, starts, axis=1)).T
    level = np.maximum(amplitude, FLOOR * amplitude.max()) ** COMPRESSION
    rise = np.maximum(np.diff(level, axis=1, prepend=level.min(axis=1, keepdims=True)), 0)
    return np.asarray(rise / np.maximum(rise.max(axis=1, keepdims=True), np.finfo(float).tiny))


def _matches(envelope: Floats, frame_rate: float, candidates: Floats, rhythm: Rhythm) -> Floats:
    """Cosine between the envelope (bands, frames) of unit norm and the rhythm at each tempo, at its best phase."""
    frames = envelope.shape[1]
    longest_bar = int(np.ceil(BEATS_PER_BAR * 60 / MIN_BPM * frame_rate))
    size = 1 << (frames + longest_bar - 1).bit_length()
    predicted = np.zeros((len(candidates), len(envelope), size))
    for row, bpm in enumerate(candidates):
        beat = 60 / bpm * frame_rate
        bars = np.arange(int(np.ceil(size / beat / BEATS_PER_BAR)))
        for beats, band, strength in rhythm:
            at = np.round((beats + BEATS_PER_BAR * bars) * beat).astype(int)
            predicted[row, band, at[at < size]] += strength
    predicted = _smooth(predicted, frame_rate)
    spectra = np.fft.rfft(predicted) * np.conj(np.fft.rfft(envelope, size))
    products = np.fft.irfft(spectra, size).sum(axis=1)[:, :longest_bar]
    energy = np.cumsum(np.pad((predicted**2).sum(axis=1), ((0, 0), (1, 0))), axis=1)
    norms = np.sqrt(energy[:, frames : frames + longest_bar] - energy[:, :longest_bar])
    scores = products / np.maximum(norms, 1e-9)
    within_bar = np.arange(longest_bar) < (BEATS_PER_BAR * 60 / candidates * frame_rate)[:, None]
    return np.asarray(np.where(within_bar, scores, 0.0).max(axis=1))


def _smooth(rows: Floats, frame_rate: float) -> Floats:
    """Blur along the last axis, so that onsets may be a little early or late."""
    width = SMOOTHING * frame_rate
    reach = int(np.ceil(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(reach, reach)])
    length = rows.shape[-1]
    return np.asarray(sum(weight * padded[..., i : i + length] for i, weight in enumerate(kernel)))


def rhythms_of(labels: Labels) -> list[Rhythm]:
    """Return the rhythms, straight and swung, that a sound with these labels may have; none without a tempo."""
    if labels.family == "drum loop":
        return _swung(_drum_bar(GROOVES[labels.variant].bar))
    if labels.family == "single drum loop":
        return _swung(_drum_bar({labels.variant: SOLO_BARS[labels.variant]}))
    if labels.family == "bass line":
        return [_eighths(i for i, note in enumerate(bar) if note is not None) for bar in BASS_BARS]
    if labels.family == "arpeggio":
        return [_eighths(range(EIGHTHS_PER_BAR))]
    if labels.family == "chord progression":
        return [_eighths(range(0, EIGHTHS_PER_BAR, step)) for step in (2, 4)]
    if labels.family == "melody":
        return [_eighths(np.cumsum((0, *lengths[:-1])).tolist()) for lengths in MELODY_RHYTHMS]
    return []


def _drum_bar(bar: dict[str, str]) -> Rhythm:
    return tuple(
        (step / STEPS_PER_BEAT, BAND_OF.get(drum, MIDDLE), ACCENTS[accent])
        for drum, pattern in bar.items()
        for step, accent in enumerate(pattern)
        if accent in ACCENTS
    )


def _swung(rhythm: Rhythm) -> list[Rhythm]:
    """The rhythm, and its variant with every second sixteenth delayed."""
    late = SWING / STEPS_PER_BEAT
    swung = tuple((beats + late * (beats * STEPS_PER_BEAT % 2), band, accent) for beats, band, accent in rhythm)
    return [rhythm] if swung == rhythm else [rhythm, swung]


def _eighths(eighths: Iterable[int]) -> Rhythm:
    """Equal onsets in every band on some eighths of a bar."""
    return tuple((eighth / 2, band, 1.0) for eighth in eighths for band in range(len(EDGES)))
