"""Instrument voices by additive synthesis: exactly in tune, free of aliasing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from soundloom.datasets.synthetic.labels import tuned_pitch
from soundloom.datasets.synthetic.sounds.signals import FloatArray, decay, phase, smooth_edges

MAX_PARTIAL_HZ = 16_000
VIBRATO_HZ = 5.2
VIBRATO_CENTS = 6
RELEASE_SECONDS = 0.03


@dataclass(frozen=True)
class Voice:
    """Amplitudes and envelopes of the partials; ratios in tenths (see `signals.WRAP_CYCLES`)."""

    amplitudes: tuple[float, ...]
    ratios: tuple[float, ...] = ()  # empty: harmonics 1, 2, 3 …
    attack: float = 0.004  # seconds
    decay: float = 0.0  # seconds to -60 dB of the first partial; 0 = sustained
    damping: float = 0.0  # of higher partials: partial r decays in decay / (1 + damping (r - 1))
    vibrato: bool = False


def _rolloff(power: float, count: int, keep: Callable[[int], bool] = lambda k: True) -> tuple[float, ...]:
    return tuple(k**-power if keep(k) else 0.0 for k in range(1, count + 1))


def _odd(k: int) -> bool:
    return k % 2 == 1


VOICES = {
    "piano": Voice(_rolloff(1.3, 14), decay=4.0, damping=0.35),
    "electric piano": Voice((1.0, 0.35, 0.06, 0.2, 0.03), decay=3.0, damping=0.5),
    "organ": Voice((1.0, 0.8, 0.5, 0.5, 0.0, 0.3, 0.0, 0.25), attack=0.015),
    "flute": Voice((1.0, 0.35, 0.12, 0.05), attack=0.06, vibrato=True),
    "clarinet": Voice(_rolloff(1.0, 11, _odd), attack=0.04),
    "strings": Voice(_rolloff(1.1, 18), attack=0.15, vibrato=True),
    "brass": Voice((0.7, 1.0, 0.9, 0.7, 0.5, 0.4, 0.25, 0.18, 0.1, 0.06), attack=0.05),
    "marimba": Voice((1.0, 0.35, 0.12), ratios=(1.0, 3.9, 9.2), decay=1.0, damping=0.6),
    "guitar": Voice(_rolloff(1.0, 16), decay=3.0, damping=0.3),
    "harp": Voice(_rolloff(1.6, 10), decay=3.0, damping=0.2),
    "banjo": Voice(_rolloff(0.6, 18), decay=1.0, damping=0.12),
    "church bell": Voice(
        (0.7, 1.0, 0.6, 0.5, 0.7, 0.35, 0.3, 0.2),
        ratios=(0.5, 1.0, 1.2, 1.5, 2.0, 2.7, 3.0, 4.2),
        decay=6.0,
        damping=0.5,
    ),
    "bell": Voice((1.0, 0.55, 0.4, 0.25, 0.12), ratios=(1.0, 2.0, 2.8, 4.1, 5.4), decay=4.0, damping=0.4),
    "glockenspiel": Voice((1.0, 0.4, 0.15), ratios=(1.0, 2.8, 5.4), decay=2.0, damping=0.5),
    "sub bass": Voice((1.0, 0.12, 0.03), attack=0.012),
    "synth bass": Voice(_rolloff(1.0, 24)),
    "bass guitar": Voice((1.0, 0.8, 0.45, 0.3, 0.15, 0.1, 0.06, 0.04), decay=3.0, damping=0.35),
    "saw lead": Voice(_rolloff(1.0, 24), attack=0.01, vibrato=True),
    "square lead": Voice(_rolloff(1.0, 23, _odd), attack=0.01, vibrato=True),
    "synth": Voice(_rolloff(1.2, 16), attack=0.01, decay=2.5, damping=0.2),
    "pad": Voice(_rolloff(1.2, 16), attack=0.5),
}


def play(name: str, hz: float, n: int, brightness: float = 0.5, grid: float = 0.0) -> FloatArray:
    """Render one note of the voice `name`, n samples with its release, (n,).

    With a `grid` in hertz, the partials of inharmonic voices are tuned to it.
    """
    voice = VOICES[name]
    bend = np.sin(phase(VIBRATO_HZ, n)) * (VIBRATO_CENTS / 1200) if voice.vibrato else 0.0
    angle = phase(hz * np.exp2(bend), n)
    # Brightness tilts the spectrum by up to about 6 dB per octave.
    tilt = 2.0 * (brightness - 0.5)
    out = np.zeros(n, np.float32)
    is_tuned = bool(grid and voice.ratios)
    ratios = voice.ratios or range(1, len(voice.amplitudes) + 1)
    for ratio, amplitude in zip(ratios, voice.amplitudes, strict=True):
        if amplitude and ratio * hz < MAX_PARTIAL_HZ:
            theta = phase(tuned_pitch(ratio * hz, grid), n) if is_tuned else np.float32(ratio) * angle
            partial = np.sin(theta) * np.float32(amplitude * ratio**tilt)
            if voice.decay:
                partial *= decay(n, voice.decay / max(0.3, 1 + voice.damping * (ratio - 1)))
            out += partial
    return smooth_edges(out, voice.attack, RELEASE_SECONDS)


def play_wide(name: str, hz: float, n: int, brightness: float, cents: float = 2.0) -> FloatArray:
    """Render a note slightly sharp on the left and flat on the right, (2, n)."""
    spread = 2 ** (cents / 1200)
    return np.stack([play(name, hz * spread, n, brightness), play(name, hz / spread, n, brightness)])
