"""Sound effects that change over time: sirens, lasers, whooshes, risers, explosions, birds."""

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, Sound, sample_brightness
from soundloom.datasets.synthetic.sounds.signals import (
    FloatArray,
    add_at,
    band,
    decay,
    fm_growl,
    noise,
    phase,
    samples,
    slope,
    smooth_edges,
    swell,
    times,
)

SWEEP_BANDS = (250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)  # Hz, one octave apart
SIREN_CYCLES = {"wailing": 0.4, "two-tone": 1.0, "yelping": 3.0}  # per second


def moving_noise(path: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Noise (2, n) whose center follows `path` (n,), 0 … 1 from the lowest to the highest band."""
    n = path.size
    out = np.zeros((2, n), np.float32)
    position = path * np.float32(len(SWEEP_BANDS) - 1)
    for i, center in enumerate(SWEEP_BANDS):
        weight = np.maximum(0, 1 - np.abs(position - np.float32(i)))  # neighbors cross-fade
        out += noise(n, rng, band(center, 0.5)) * weight
    return out


def sample_siren(rng: np.random.Generator, seconds: float) -> Labels:
    variant = str(rng.choice(tuple(SIREN_CYCLES)))
    return Labels("siren", variant, rate=SIREN_CYCLES[variant])


def render_siren(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    cycle = swell(n, labels.rate)
    if labels.variant == "two-tone":
        pitch = np.where(cycle < 0.5, 440.0, 585.0)
    else:
        pitch = 600.0 * 2.4**cycle
    if labels.grid:
        pitch = _repeating(pitch, labels.rate)
    return smooth_edges(fm_growl(phase(pitch, n), 0.8), 0.02, 0.01)


def _repeating(pitch: FloatArray, rate: float) -> FloatArray:
    """Adjust a pitch (n,) so that each of its `rate` cycles per second contains whole periods."""
    turns = float(pitch[: samples(1 / rate)].mean()) / rate
    return pitch * (round(turns) / turns)


def sample_laser(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("laser", count=int(rng.integers(1, max(1, min(4, int(seconds / 0.35))) + 1)))


def render_laser(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    size = samples(0.3)
    pitch = 180 + 3800 * np.exp(-times(size) / 0.06)
    zap = smooth_edges(fm_growl(phase(pitch, size), 0.7), 0.002, 0.08)
    out = np.zeros(n, np.float32)
    for i in range(labels.count):
        add_at(out, zap, samples(0.35 * i))
    return out


def sample_whoosh(rng: np.random.Generator, seconds: float) -> Labels:
    pan = float(rng.choice((-0.9, 0.9)))
    return Labels("whoosh", pan=pan, pan_to=-pan, brightness=sample_brightness(rng))


def render_whoosh(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    bump = np.sin(np.pi * np.linspace(0, 1, n, dtype=np.float32))
    return moving_noise(0.1 + (0.3 + 0.6 * labels.brightness) * bump, rng) * bump**3


def sample_riser(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("riser", str(rng.choice(("noise", "synth"))))


def render_riser(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    ramp = np.linspace(0, 1, n, dtype=np.float32)
    if labels.variant == "noise":
        return moving_noise(ramp, rng) * (0.05 + 0.95 * ramp**2)
    return fm_growl(phase(110.0 * 16.0**ramp, n), 1.2) * (0.1 + 0.9 * ramp**2)


def sample_explosion(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("explosion", str(rng.choice(("distant", "big"))))


def render_explosion(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    """High bands decay first, as after a real blast; a distant one has none."""
    out = noise(n, rng, slope(0.8, 30, 250)) * decay(n, 3.0)
    out += noise(n, rng, band(500, 0.8)) * decay(n, 1.6) * np.float32(0.6)
    if labels.variant == "big":
        out += noise(n, rng, band(2500, 1.0)) * decay(n, 0.7)
    out += 1.5 * np.sin(phase(35 + 45 * decay(n, 1.0), n)) * decay(n, 1.8)
    return smooth_edges(out, 0.15 if labels.variant == "distant" else 0.003, 0.01)


def sample_birds(rng: np.random.Generator, seconds: float) -> Labels:
    variant = str(rng.choice(("songbird", "cuckoo", "seagull"), p=(0.6, 0.2, 0.2)))
    return Labels("birds", variant)


def render_birds(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    call = {"songbird": _song, "cuckoo": _cuckoo, "seagull": _cry}[labels.variant]
    out = np.zeros(n, np.float32)
    start = samples(rng.uniform(0.0, 0.15))
    while start < n - samples(0.1):
        sound = call(rng)
        add_at(out, sound, start)
        start += sound.size + samples(rng.uniform(0.15, 0.5))
    return out


def _song(rng: np.random.Generator) -> FloatArray:
    """A few quick chirps that fall or rise around one pitch."""
    hz, bend = rng.uniform(2800, 4800), rng.uniform(-0.35, 0.35)
    size, gap = samples(rng.uniform(0.05, 0.1)), samples(0.03)
    count = int(rng.integers(2, 7))
    chirp = smooth_edges(np.sin(phase(hz * np.geomspace(1, 1 + bend, size), size)), 0.01, 0.03)
    out = np.zeros(count * (size + gap), np.float32)
    for i in range(count):
        add_at(out, chirp, i * (size + gap))
    return out


def _cuckoo(rng: np.random.Generator) -> FloatArray:
    """Two soft notes a third apart."""
    size = samples(0.25)
    out = np.zeros(2 * size + samples(0.3), np.float32)
    for i, hz in enumerate((660.0, 550.0)):
        add_at(out, smooth_edges(np.sin(phase(hz, size)), 0.03, 0.08), i * (size + samples(0.06)))
    return out


def _cry(rng: np.random.Generator) -> FloatArray:
    """Long falling cry with harmonics."""
    size = samples(rng.uniform(0.35, 0.6))
    arch = np.sin(np.pi * np.arange(size) / size) ** 0.7
    return smooth_edges(fm_growl(phase(900 + 600 * arch, size), 1.5), 0.03, 0.1)


SOUNDS = {
    "siren": Sound(0.8, (2.5, 5.0), sample_siren, render_siren),
    "laser": Sound(0.7, (1.0, 1.6), sample_laser, render_laser),
    "whoosh": Sound(0.7, (1.0, 2.0), sample_whoosh, render_whoosh),
    "riser": Sound(0.7, (1.5, 4.0), sample_riser, render_riser),
    "explosion": Sound(0.8, (2.0, 4.0), sample_explosion, render_explosion),
    "birds": Sound(1.0, (2.0, 5.0), sample_birds, render_birds),
}
