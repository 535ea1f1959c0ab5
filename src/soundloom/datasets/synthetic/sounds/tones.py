"""Plain test signals: tones, sweeps, noises."""

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, Sound, sample_note
from soundloom.datasets.synthetic.sounds.signals import FloatArray, noise, phase, slope, smooth_edges

ROUND_HZ = (60, 80, 100, 150, 200, 250, 300, 400, 440, 500, 600, 800, 1000, 1500, 2000, 3000, 4000, 5000, 8000)
MAX_HARMONIC_HZ = 16_000
NOISE_POWERS = {"white": 0.0, "pink": 0.5, "brown": 1.0}


def sample_tone(rng: np.random.Generator, seconds: float) -> Labels:
    hz = sample_note(rng, 33, 96) if rng.random() < 0.5 else float(rng.choice(ROUND_HZ))
    variant = rng.choice(("sine", "square", "sawtooth", "triangle"), p=(0.55, 0.15, 0.15, 0.15))
    return Labels("tone", str(variant), hz=hz)


def render_tone(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    return smooth_edges(waveform(labels.variant, phase(labels.hz, n), labels.hz), 0.008, 0.01)


def waveform(shape: str, angle: FloatArray, top_hz: float) -> FloatArray:
    """Band-limited sine, square, sawtooth or triangle at the given phase; `top_hz` is its highest pitch."""
    count = 1 if shape == "sine" else int(np.clip(MAX_HARMONIC_HZ / top_hz, 1, 24))
    out = np.zeros_like(angle)
    for k in range(1, count + 1, 1 if shape == "sawtooth" else 2):
        gain = (-1) ** (k // 2) / k**2 if shape == "triangle" else 1 / k
        out += np.float32(gain) * np.sin(np.float32(k) * angle)
    return out


def sample_sweep(rng: np.random.Generator, seconds: float) -> Labels:
    low, high = sorted(rng.choice((100, 200, 300, 500, 800, 1000, 2000, 4000, 8000), 2, replace=False))
    start, end = (low, high) if rng.random() < 0.5 else (high, low)
    return Labels("sweep", "rising" if start < end else "falling", hz=float(start), hz_to=float(end))


def render_sweep(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    return smooth_edges(np.sin(phase(np.geomspace(labels.hz, labels.hz_to, n), n)), 0.01, 0.01)


def sample_noise(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("noise", str(rng.choice(tuple(NOISE_POWERS))))


def render_noise(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    return noise(n, rng, slope(NOISE_POWERS[labels.variant]))


SOUNDS = {
    "tone": Sound(2.0, (1.0, 4.0), sample_tone, render_tone),
    "sweep": Sound(0.7, (1.0, 4.0), sample_sweep, render_sweep),
    "noise": Sound(0.5, (1.0, 4.0), sample_noise, render_noise),
}
