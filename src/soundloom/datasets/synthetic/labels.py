"""What can be heard in a synthetic clip, as data, and the arithmetic of notes and keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from soundloom.datasets.synthetic.sounds.signals import FloatArray

NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MAJOR_STEPS = (0, 2, 4, 5, 7, 9, 11)  # semitones above the tonic
MINOR_STEPS = (0, 2, 3, 5, 7, 8, 10)
CONCERT_A = 440.0  # Hz, MIDI note 69
TUNING_CENTS = 30  # by which a tuned pitch may be off


@dataclass(frozen=True)
class Labels:
    """One clip's audible facts; zero or an empty string means that a fact does not apply to this sound."""

    family: str
    variant: str = ""
    seconds: float = 0.0
    hz: float = 0.0  # fundamental of the note; where a sweep begins
    hz_to: float = 0.0  # where a sweep ends
    grid: float = 0.0  # latents a second that the sound is rendered to fit, see `tuning.tuned`
    key: str = ""  # "A minor": of the piece, or the chord itself
    bpm: float = 0  # a whole number in all that captions speak of
    swing: float = 0.0  # share of a sixteenth by which every second sixteenth is late
    rate: float = 0.0  # regular events (ticks, steps, cycles) per second
    count: int = 0  # events in the clip, where they can be counted
    material: str = ""  # drum kit, instrument, or the surface that is struck
    brightness: float = 0.5  # 0 dark … 1 bright
    pan: float = 0.0  # -1 left … 1 right
    pan_to: float | None = None  # where a moving sound ends
    reverb: str = ""  # a name in space.REVERBS
    level: float = -3.0  # peak, dBFS
    fade_in: float = 0.0  # seconds
    fade_out: float = 0.0
    layer: Labels | None = None  # the second source of a scene, as long as the first

    @property
    def note(self) -> str | None:
        """Name of the note whose pitch `hz` is, such as A4; None when it lies between two notes."""
        return note_name(self.hz) if self.hz else None


@dataclass(frozen=True)
class Sound:
    """A family of sounds: sampling weight, range of lengths, label sampler and renderer.

    `sample(rng, seconds)` fills the family's own fields. `render(labels, n, rng)` returns (n,) or (2, n) at any level;
    pan, reverb and fades are applied to all families alike afterwards.
    """

    weight: float
    seconds: tuple[float, float]
    sample: Callable[[np.random.Generator, float], Labels]
    render: Callable[[Labels, int, np.random.Generator], FloatArray]


def midi_to_hz(midi: float) -> float:
    """Pitch of a MIDI note number in twelve-tone equal temperament."""
    return CONCERT_A * 2.0 ** ((midi - 69) / 12)


def hz_to_midi(hz: float) -> float:
    """Inverse of `midi_to_hz`, not rounded."""
    return float(69 + 12 * np.log2(hz / CONCERT_A))


def tuned_pitch(hz: float, grid: float) -> float:
    """The multiple of the coarsest of grid, grid / 2, grid / 4 … that is within TUNING_CENTS of a pitch; 0 stays."""
    near = grid * round(hz / grid)
    if not hz or (near and abs(1200 * np.log2(near / hz)) <= TUNING_CENTS):
        return near
    return tuned_pitch(hz, grid / 2)


def note_name(hz: float) -> str | None:
    """Scientific name (C4 = 261.63 Hz) of a pitch within one cent of a note, else None."""
    midi = hz_to_midi(hz)
    nearest = round(midi)
    if abs(midi - nearest) > 0.01:
        return None
    return f"{NOTE_NAMES[nearest % 12]}{nearest // 12 - 1}"


def scale(key: str) -> tuple[int, tuple[int, ...]]:
    """Pitch class of the tonic (C = 0) and the scale's steps, from a name such as "F# minor"."""
    tonic, mode = key.split()
    return NOTE_NAMES.index(tonic), MAJOR_STEPS if mode == "major" else MINOR_STEPS


def sample_key(rng: np.random.Generator) -> str:
    """Any of the 24 keys."""
    return f"{rng.choice(NOTE_NAMES)} {rng.choice(('major', 'minor'))}"


def sample_bpm(rng: np.random.Generator, low: int = 60, high: int = 180) -> int:
    """Draw a tempo in [low, high]; two in three are multiples of ten, as in real music libraries."""
    bpm = int(rng.integers(low, high + 1))
    rounded = round(bpm / 10) * 10
    return rounded if rng.random() < 0.67 and low <= rounded <= high else bpm


def sample_note(rng: np.random.Generator, low: int, high: int) -> float:
    """Hertz of a MIDI note in [low, high]."""
    return midi_to_hz(int(rng.integers(low, high + 1)))


def sample_brightness(rng: np.random.Generator) -> float:
    """Dark, neutral or bright, clearly apart so that the word can be learnt."""
    center = rng.choice((0.1, 0.5, 0.9))
    return float(center + rng.uniform(-0.08, 0.08))
