"""Labels of synthetic clips, and the arithmetic of notes and keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from soundloom.datasets.synthetic.sounds.signals import FloatArray

NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MAJOR_STEPS = (0, 2, 4, 5, 7, 9, 11)  # semitones above the tonic
MINOR_STEPS = (0, 2, 3, 5, 7, 8, 10)
CONCERT_A = 440.0  # Hz, MIDI note 69
TUNING_CENTS = 30  # largest change of a tuned pitch


@dataclass(frozen=True)
class Labels:
    """The audible properties of a clip; zero or an empty string means that one does not apply."""

    family: str
    variant: str = ""
    seconds: float = 0.0
    hz: float = 0.0  # fundamental of the note; start of a sweep
    hz_to: float = 0.0  # end of a sweep
    grid: float = 0.0  # latents per second that the sound is aligned to, see `tuning.tuned`
    key: str = ""  # "A minor": of the piece, or the chord itself
    bpm: float = 0  # an integer in all labels that have captions
    swing: float = 0.0  # share of a sixteenth by which every second sixteenth is late
    rate: float = 0.0  # regular events (ticks, steps, cycles) per second
    count: int = 0  # events in the clip, where they can be counted
    material: str = ""  # drum kit, instrument or struck surface
    brightness: float = 0.5  # 0 dark … 1 bright
    pan: float = 0.0  # -1 left … 1 right
    pan_to: float | None = None  # end of a moving sound
    reverb: str = ""  # a name in space.REVERBS
    level: float = -3.0  # peak, dBFS
    fade_in: float = 0.0  # seconds
    fade_out: float = 0.0
    layer: Labels | None = None  # the second source of a scene, as long as the first

    @property
    def note(self) -> str | None:
        """Name of the note, such as A4; None when `hz` lies between two notes."""
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
    """Convert a MIDI note number to hertz in twelve-tone equal temperament."""
    return CONCERT_A * 2.0 ** ((midi - 69) / 12)


def hz_to_midi(hz: float) -> float:
    """Inverse of `midi_to_hz`, not rounded."""
    return float(69 + 12 * np.log2(hz / CONCERT_A))


def tuned_pitch(hz: float, grid: float) -> float:
    """Round a pitch to a multiple of the coarsest of grid, grid / 2, grid / 4 … within TUNING_CENTS; keep 0."""
    near = grid * round(hz / grid)
    if not hz or (near and abs(1200 * np.log2(near / hz)) <= TUNING_CENTS):
        return near
    return tuned_pitch(hz, grid / 2)


def note_name(hz: float) -> str | None:
    """Return the scientific name (C4 = 261.63 Hz) of a pitch within one cent of a note, else None."""
    midi = hz_to_midi(hz)
    nearest = round(midi)
    if abs(midi - nearest) > 0.01:
        return None
    return f"{NOTE_NAMES[nearest % 12]}{nearest // 12 - 1}"


def scale(key: str) -> tuple[int, tuple[int, ...]]:
    """Return the pitch class of the tonic (C = 0) and the steps of a key such as "F# minor"."""
    tonic, mode = key.split()
    return NOTE_NAMES.index(tonic), MAJOR_STEPS if mode == "major" else MINOR_STEPS


def sample_key(rng: np.random.Generator) -> str:
    """Sample one of the 24 keys."""
    return f"{rng.choice(NOTE_NAMES)} {rng.choice(('major', 'minor'))}"


def sample_bpm(rng: np.random.Generator, low: int = 60, high: int = 180) -> int:
    """Sample a tempo in [low, high]; two in three are multiples of ten, as in real music libraries."""
    bpm = int(rng.integers(low, high + 1))
    rounded = round(bpm / 10) * 10
    return rounded if rng.random() < 0.67 and low <= rounded <= high else bpm


def sample_note(rng: np.random.Generator, low: int, high: int) -> float:
    """Sample a MIDI note in [low, high]; return its hertz."""
    return midi_to_hz(int(rng.integers(low, high + 1)))


def sample_brightness(rng: np.random.Generator) -> float:
    """Sample dark, neutral or bright, with clear gaps so that the words can be learned."""
    center = rng.choice((0.1, 0.5, 0.9))
    return float(center + rng.uniform(-0.08, 0.08))
