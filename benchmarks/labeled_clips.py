"""Clips of known tempo and key, and clips that have neither: of a soundfont, of the synthetic dataset, and noises.

Each has a random length, sample rate, level and number of channels, and starts anywhere in its first bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.midi import DRUMS, RATE, Note, Score, render_scores
from benchmarks.patterns import CHORDS, LEADS, PLUCKED, sample_piece
from soundloom.audio.resample import resample
from soundloom.datasets.synthetic import render
from soundloom.datasets.synthetic.families import sample_source
from soundloom.datasets.synthetic.labels import midi_to_hz

RATES = (22050, 32000, 44100, 48000, 88200, 96000)
MIN_SECONDS, MAX_SECONDS = 2.0, 12.0
LEVELS = (-50.0, -0.5)  # dBFS, peak
MUSIC = ("drum loop", "single drum loop", "bass line", "chord progression", "arpeggio", "melody")  # with a tempo
SINGLE_NOTES = ("tone", "bass", "pluck", "bell", "instrument", "lead")
BATCH = 40  # pieces per run of fluidsynth

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class LabeledClip:
    """Audio (channels, samples) and what it is: tempo in BPM and key, None where it has none, and a description.

    `pitch` is that of a single note in Hz, 0 if unknown. `onsets` are the times of notes in seconds, if known.
    """

    audio: Audio
    rate: int
    tempo: float | None
    key: str | None
    what: str
    pitch: float = 0.0
    onsets: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        return self.audio.shape[1] / self.rate


def soundfont_clips(seeds: Iterable[int]) -> Iterator[LabeledClip]:
    """Yield a clip of a random piece of music for each seed, rendered with fluidsynth."""
    seeds = list(seeds)
    for first in range(0, len(seeds), BATCH):
        rngs = [np.random.default_rng((22, seed)) for seed in seeds[first : first + BATCH]]
        pieces = [sample_piece(rng, MAX_SECONDS + 4) for rng in rngs]
        for piece, audio, rng in zip(pieces, render_scores([p.score for p in pieces]), rngs, strict=True):
            what = f"{piece.style}: {', '.join(piece.parts)}"
            onsets = tuple(sorted(note.start for note in piece.score.notes))
            yield _presented(audio, piece.bpm, piece.key or None, what, rng, onsets=onsets)


def synthetic_clips(seeds: Iterable[int]) -> Iterator[LabeledClip]:
    """Yield a clip of the synthetic dataset that has a tempo for each seed."""
    for seed in seeds:
        rng = np.random.default_rng((23, seed))
        labels = sample_source(MUSIC[seed % len(MUSIC)], rng, MAX_SECONDS + 4)
        audio = render(labels, MAX_SECONDS + 4, rng)
        yield _presented(audio, float(labels.bpm), labels.key or None, f"{labels.family}: {labels.variant}", rng)


def held_chords(seeds: Iterable[int]) -> Iterator[LabeledClip]:
    """Yield a held chord of the synthetic dataset for each seed, which has a key and no tempo."""
    for seed in seeds:
        rng = np.random.default_rng((26, seed))
        labels = sample_source(("chord", "pad")[seed % 2], rng, MAX_SECONDS + 4)
        audio = render(labels, MAX_SECONDS + 4, rng)
        yield _presented(audio, None, labels.key, f"{labels.family}: {labels.variant}", rng, offset=0.0)


def unsure_clips(seeds: Iterable[int]) -> Iterator[LabeledClip]:
    """Yield a clip without tempo and key for each seed: noise, rain, notes, speech-like sounds, clicks, silence."""
    makers = list(UNSURE.items())
    for seed in seeds:
        rng = np.random.default_rng((24, seed))
        what, make = makers[seed % len(makers)]
        yield _presented(make(rng, MAX_SECONDS + 4), None, None, what, rng)


def soundfont_notes(seeds: Iterable[int]) -> Iterator[LabeledClip]:
    """Yield a clip of one note, or a drum hit, for each seed, rendered with fluidsynth."""
    seeds = list(seeds)
    for first in range(0, len(seeds), BATCH):
        rngs = [np.random.default_rng((25, seed)) for seed in seeds[first : first + BATCH]]
        scores = [_single_note(rng) for rng in rngs]
        for score, audio, rng in zip(scores, render_scores(scores), rngs, strict=True):
            clip = _presented(audio, None, None, "single note of the soundfont", rng, offset=0.0)
            (note,) = score.notes
            yield replace(clip, pitch=0.0 if note.channel == DRUMS else midi_to_hz(note.pitch))


def _single_note(rng: np.random.Generator) -> Score:
    length = float(rng.uniform(0.5, MAX_SECONDS))
    if rng.random() < 0.15:
        return Score((Note(0.0, length, DRUMS, int(rng.integers(35, 60)), 100),), {DRUMS: 0}, MAX_SECONDS + 4)
    program = int(rng.choice((*PLUCKED, *LEADS, *CHORDS)))
    note = Note(0.0, length, 0, int(rng.integers(40, 85)), int(rng.integers(50, 120)))
    return Score((note,), {0: program}, MAX_SECONDS + 4)


def _presented(
    audio: Audio,
    tempo: float | None,
    key: str | None,
    what: str,
    rng: np.random.Generator,
    offset: float | None = None,
    onsets: tuple[float, ...] = (),
) -> LabeledClip:
    """Cut a clip, at a random length, start, rate, level and number of channels."""
    seconds = float(rng.uniform(MIN_SECONDS, MAX_SECONDS))
    if offset is None:
        offset = 0.0 if rng.random() < 0.5 else float(rng.uniform(0, 3))
    rate = int(rng.choice(RATES))
    first = round(offset * RATE)
    audio = audio[:, first : first + round(seconds * RATE)]
    if rng.random() < 0.4:
        audio = audio.mean(axis=0, keepdims=True)
    if rng.random() < 0.3:
        audio = _recorded(audio, rng)
    peak = float(np.abs(audio).max(initial=0.0))
    level = 10 ** (rng.uniform(*LEVELS) / 20)
    audio = (audio * (level / peak if peak else 0.0)).astype(np.float32)
    shifted = tuple(time - offset for time in onsets if offset <= time < offset + seconds)
    return LabeledClip(resample(audio, RATE, rate), rate, tempo, key, what, onsets=shifted)


def _recorded(audio: Audio, rng: np.random.Generator) -> Audio:
    """Audio as of a worse recording: treble and bass turned down, and a noise floor."""
    spectrum = np.fft.rfft(audio, axis=1)
    hz = np.fft.rfftfreq(audio.shape[1], 1 / RATE)
    low, high = rng.uniform(20, 200), rng.uniform(2500, 20_000)
    spectrum *= 1 / np.sqrt((1 + (hz / high) ** 4) * (1 + (low / np.maximum(hz, 1)) ** 4))
    filtered = np.fft.irfft(spectrum, audio.shape[1], axis=1)
    level = np.abs(filtered).max(initial=0.0) * 10 ** (rng.uniform(-80, -35) / 20)
    return (filtered + level * rng.normal(size=filtered.shape)).astype(np.float32)


# Clips without tempo and key: (rng, seconds) to (2, n) at RATE.


def _synthetic(families: tuple[str, ...]) -> Callable[[np.random.Generator, float], Audio]:
    def make(rng: np.random.Generator, seconds: float) -> Audio:
        return render(sample_source(str(rng.choice(families)), rng, seconds), seconds, rng)

    return make


def _noise(rng: np.random.Generator, seconds: float) -> Audio:
    """Noise whose power falls by 0 to 6 dB per octave: white, pink, brown and between."""
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.normal(size=(2, n)), axis=1)
    spectrum[:, 1:] /= np.arange(1, spectrum.shape[1]) ** rng.uniform(0, 1)
    spectrum[:, :20] = 0
    return _scaled(np.fft.irfft(spectrum, n, axis=1))


def _speech(rng: np.random.Generator, seconds: float) -> Audio:
    """Bands of noise and a gliding buzz in syllables of irregular length, with pauses."""
    n = round(seconds * RATE)
    level, at = np.zeros(n), 0.0
    while at < seconds:
        length = rng.uniform(0.08, 0.35)
        first, last = round(at * RATE), min(n, round((at + length) * RATE))
        level[first:last] = np.hanning(max(1, last - first)) * rng.uniform(0.3, 1)
        at += length + (rng.uniform(0.2, 0.8) if rng.random() < 0.15 else rng.uniform(0, 0.08))
    knots = np.linspace(0, seconds, round(4 * seconds))
    hz = np.interp(np.arange(n) / RATE, knots, rng.uniform(90, 220) * 2 ** rng.normal(0, 0.15, len(knots)))
    buzz = (2 * np.pi * np.cumsum(hz) / RATE) % (2 * np.pi) / np.pi - 1
    noise = _noise(rng, seconds)[0]
    voiced = np.interp(np.arange(n) / RATE, knots, (rng.random(len(knots)) < 0.7).astype(float))
    mixed = np.convolve(level * (voiced * buzz + (1 - voiced) * 3 * noise), np.hanning(12) / 6, "same")
    return _scaled(np.stack([mixed, mixed]))


def _irregular(rng: np.random.Generator, seconds: float) -> Audio:
    """Clicks, or decaying notes of random pitch, at random times."""
    n = round(seconds * RATE)
    out = np.zeros(n + RATE)
    rate = rng.uniform(0.7, 5)
    is_click, at = rng.random() < 0.6, 0.0
    t = np.arange(RATE) / RATE
    while (at := at + rng.exponential(1 / rate)) < seconds:
        hz = rng.uniform(200, 4000) if is_click else rng.uniform(100, 1500)
        sound = np.sin(2 * np.pi * hz * t) * np.exp(-t / (0.004 if is_click else rng.uniform(0.05, 0.3)))
        out[round(at * RATE) : round(at * RATE) + RATE] += rng.uniform(0.3, 1) * sound
    return _scaled(np.stack([out[:n], out[:n]]))


def _click(rng: np.random.Generator, seconds: float) -> Audio:
    """One or two clicks in silence."""
    out = np.zeros((2, round(seconds * RATE)), np.float32)
    for _ in range(rng.integers(1, 3)):
        out[:, rng.integers(0, RATE)] = rng.uniform(0.3, 1)
    return out


def _silence(rng: np.random.Generator, seconds: float) -> Audio:
    return np.zeros((2, round(seconds * RATE)), np.float32)


def _scaled(audio: NDArray[np.floating]) -> Audio:
    return (audio / max(float(np.abs(audio).max()), 1e-9)).astype(np.float32)


UNSURE: dict[str, Callable[[np.random.Generator, float], Audio]] = {
    "noise": _noise,
    "rain": _synthetic(("rain",)),
    "single note": _synthetic(SINGLE_NOTES),
    "wind, sea, fire, static": _synthetic(("wind", "sea", "fire", "static", "noise")),
    "speech-like": _speech,
    "irregular events": _irregular,
    "drum hit, effect": _synthetic(("drum hit", "whoosh", "explosion", "riser", "sweep")),
    "clicks": _click,
    "silence": _silence,
}
