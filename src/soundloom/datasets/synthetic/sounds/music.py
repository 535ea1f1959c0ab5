"""Pitched music: single notes, chords, pads, and lines in a key and tempo."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from soundloom.datasets.synthetic.labels import (
    Labels,
    Sound,
    midi_to_hz,
    sample_bpm,
    sample_brightness,
    sample_key,
    sample_note,
    scale,
)
from soundloom.datasets.synthetic.sounds.signals import FloatArray, add_at, samples
from soundloom.datasets.synthetic.sounds.voices import VOICES, play, play_wide

# Single notes: voices of each family with their lowest and highest MIDI note.
NOTE_RANGES = {
    "bass": {"sub bass": (28, 43), "synth bass": (28, 43), "bass guitar": (28, 43)},
    "pluck": {"guitar": (40, 67), "harp": (48, 79), "banjo": (50, 72)},
    "bell": {"church bell": (50, 69), "bell": (57, 81), "glockenspiel": (76, 96)},
    "instrument": {
        "piano": (36, 84),
        "electric piano": (40, 76),
        "organ": (40, 76),
        "flute": (60, 88),
        "clarinet": (52, 79),
        "strings": (48, 81),
        "brass": (46, 72),
        "marimba": (48, 79),
    },
    "lead": {"saw lead": (57, 84), "square lead": (57, 84)},
}

CHORD_VOICES = ("piano", "electric piano", "organ", "strings", "guitar", "synth")
ARPEGGIO_VOICES = ("piano", "harp", "synth", "marimba", "glockenspiel", "guitar")
MELODY_VOICES = ("piano", "flute", "clarinet", "saw lead", "square lead", "glockenspiel", "marimba")
BASS_VOICES = tuple(NOTE_RANGES["bass"])

PROGRESSIONS = {  # scale degrees, 0 = tonic
    "major": ((0, 4, 5, 3), (0, 3, 4, 0), (0, 5, 3, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6)),
}
BASS_BARS = (  # scale degree of each eighth, None = rest
    (0, None, 0, 0, None, 0, 4, None),
    (0, 0, 0, 0, 0, 0, 0, 0),
    (0, None, 7, None, 0, None, 7, None),
    (0, None, None, 0, 2, None, 4, None),
)
ARPEGGIO_ORDERS = ((0, 2, 4, 7), (0, 2, 4, 2), (7, 4, 2, 0), (0, 4, 2, 4))
PENTATONIC = {"major": (0, 1, 2, 4, 5, 7), "minor": (0, 2, 3, 4, 6, 7)}
MELODY_RHYTHMS = ((2, 1, 1, 2, 2), (1, 1, 2, 1, 1, 2), (3, 1, 2, 2), (2, 2, 3, 1))  # eighths, one bar each

T = TypeVar("T")
Note = tuple[float, float, float]  # start and length in seconds, pitch in hertz


def degree_hz(key: str, degree: int, lowest: int) -> float:
    """Pitch of a scale degree above the first tonic from the MIDI note `lowest` up."""
    tonic, steps = scale(key)
    octave, step = divmod(degree, len(steps))
    root = lowest + (tonic - lowest) % 12
    return midi_to_hz(root + 12 * octave + steps[step])


def triad(key: str, lowest: int, degree: int = 0) -> list[float]:
    """Three pitches of the chord on a degree of the scale."""
    return [degree_hz(key, degree + third, lowest) for third in (0, 2, 4)]


def play_notes(voice: str, notes: Iterable[Note], n: int, brightness: float) -> FloatArray:
    """Mix notes of one voice, (n,); decaying voices ring for three times their written length."""
    out = np.zeros(n, np.float32)
    ring = 3.0 if VOICES[voice].decay else 1.0
    for start, length, hz in notes:
        first = samples(start)
        size = min(samples(length * ring), n - first)
        if size > 0:
            add_at(out, play(voice, hz, size, brightness), first)
    return out


def _single_notes(family: str, weight: float, seconds: tuple[float, float]) -> Sound:
    ranges = NOTE_RANGES[family]

    def sample(rng: np.random.Generator, _: float) -> Labels:
        voice = str(rng.choice(tuple(ranges)))
        return Labels(family, voice, hz=sample_note(rng, *ranges[voice]), brightness=sample_brightness(rng))

    def render(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
        return play(labels.variant, labels.hz, n, labels.brightness, labels.grid)

    return Sound(weight, seconds, sample, render)


def sample_chord(rng: np.random.Generator, seconds: float) -> Labels:
    return _rooted("chord", str(rng.choice(CHORD_VOICES)), 48, rng)


def sample_pad(rng: np.random.Generator, seconds: float) -> Labels:
    return _rooted("pad", "", 45, rng)


def _rooted(family: str, variant: str, lowest: int, rng: np.random.Generator) -> Labels:
    key = sample_key(rng)
    return Labels(family, variant, key=key, hz=degree_hz(key, 0, lowest), brightness=sample_brightness(rng))


def render_chord(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    pitches = triad(labels.key, 48)
    return np.sum([play(labels.variant, hz, n, labels.brightness) for hz in pitches], axis=0, dtype=np.float32)


def render_pad(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    pitches = [*triad(labels.key, 45), degree_hz(labels.key, 7, 45)]
    voices = [play_wide("pad", hz, n, labels.brightness - 0.2) for hz in pitches]
    return np.sum(voices, axis=0, dtype=np.float32)


def _sample_line(family: str, voices: tuple[str, ...], rng: np.random.Generator) -> Labels:
    return Labels(
        family, str(rng.choice(voices)), key=sample_key(rng), bpm=sample_bpm(rng), brightness=sample_brightness(rng)
    )


def sample_bass_line(rng: np.random.Generator, seconds: float) -> Labels:
    return _sample_line("bass line", BASS_VOICES, rng)


def render_bass_line(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    bar = BASS_BARS[rng.integers(len(BASS_BARS))]
    eighth = 30 / labels.bpm
    notes = [
        (i * eighth, eighth * 0.9, degree_hz(labels.key, degree, 28))
        for i, degree in _repeat(bar, n, eighth)
        if degree is not None
    ]
    return play_notes(labels.variant, notes, n, labels.brightness)


def _repeat(bar: tuple[T, ...], n: int, step: float) -> list[tuple[int, T]]:
    """Repeat a pattern; return the steps that start within n samples, with their indices."""
    return [(i, bar[i % len(bar)]) for i in range(int(np.ceil(n / samples(1) / step)))]


def sample_chords(rng: np.random.Generator, seconds: float) -> Labels:
    return _sample_line("chord progression", CHORD_VOICES, rng)


def render_chords(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    progressions = PROGRESSIONS[labels.key.split()[1]]
    progression = progressions[rng.integers(len(progressions))]
    beats = (1, 2)[rng.integers(2)]  # each chord sounds for two beats: twice one, or once two
    length = 60 / labels.bpm * beats
    repeated = tuple(degree for degree in progression for _ in range(2 // beats))
    notes = [
        (i * length, length * 0.95, hz)
        for i, degree in _repeat(repeated, n, length)
        for hz in triad(labels.key, 48, degree)
    ]
    return play_notes(labels.variant, notes, n, labels.brightness)


def sample_arpeggio(rng: np.random.Generator, seconds: float) -> Labels:
    return _sample_line("arpeggio", ARPEGGIO_VOICES, rng)


def render_arpeggio(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    order = ARPEGGIO_ORDERS[rng.integers(len(ARPEGGIO_ORDERS))]
    eighth = 30 / labels.bpm
    lowest = 72 if labels.variant == "glockenspiel" else 55
    notes = [(i * eighth, eighth, degree_hz(labels.key, d, lowest)) for i, d in _repeat(order, n, eighth)]
    return play_notes(labels.variant, notes, n, labels.brightness)


def sample_melody(rng: np.random.Generator, seconds: float) -> Labels:
    return _sample_line("melody", MELODY_VOICES, rng)


def render_melody(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    """Random walk on the pentatonic scale that starts on the tonic and returns to it every second bar."""
    degrees = PENTATONIC[labels.key.split()[1]]
    rhythm = MELODY_RHYTHMS[rng.integers(len(MELODY_RHYTHMS))]
    eighth = 30 / labels.bpm
    lowest = 72 if labels.variant == "glockenspiel" else 60
    notes: list[Note] = []
    position, start = 0, 0.0
    while start < n / samples(1):
        length = rhythm[len(notes) % len(rhythm)] * eighth
        if len(notes) % (2 * len(rhythm)) == 0:
            position = 0
        notes.append((start, length * 0.9, degree_hz(labels.key, degrees[position], lowest)))
        position = int(np.clip(position + rng.choice((-2, -1, 1, 2)), 0, len(degrees) - 1))
        start += length
    return play_notes(labels.variant, notes, n, labels.brightness)


SOUNDS = {
    "bass": _single_notes("bass", 1.2, (1.0, 4.0)),
    "pluck": _single_notes("pluck", 1.2, (1.0, 3.0)),
    "bell": _single_notes("bell", 1.5, (1.5, 4.0)),
    "instrument": _single_notes("instrument", 2.0, (1.0, 3.0)),
    "lead": _single_notes("lead", 1.0, (1.0, 3.0)),
    "chord": Sound(1.5, (1.5, 4.0), sample_chord, render_chord),
    "pad": Sound(1.2, (3.0, 6.0), sample_pad, render_pad),
    "bass line": Sound(1.2, (3.0, 6.0), sample_bass_line, render_bass_line),
    "chord progression": Sound(1.0, (3.0, 6.0), sample_chords, render_chords),
    "arpeggio": Sound(1.2, (3.0, 6.0), sample_arpeggio, render_arpeggio),
    "melody": Sound(1.2, (3.0, 6.0), sample_melody, render_melody),
}
