"""Continuous sounds without pitch: weather, water, fire, engines, static."""

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, Sound
from soundloom.datasets.synthetic.sounds.signals import (
    FloatArray,
    band,
    decay,
    fm_growl,
    noise,
    phase,
    samples,
    scatter,
    slope,
    slow_curve,
    swell,
)

# Hiss gain, drops per second and their gain.
RAIN = {"light": (0.35, 35.0, 0.9), "steady": (0.8, 90.0, 0.8), "heavy": (1.6, 200.0, 0.7)}
# Lowest and highest frequency of an engine's ignition in Hz.
ENGINES = {"idling": (26.0, 34.0), "revving": (40.0, 130.0), "driving": (70.0, 90.0)}


def _blip(seconds: float, center: float, octaves: float) -> FloatArray:
    """A fixed short noise burst: a drop or a crackle."""
    n = samples(seconds)
    rng = np.random.Generator(np.random.Philox(n))
    return noise(n, rng, band(center, octaves), channels=1)[0] * decay(n, seconds)


def sample_rain(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("rain", str(rng.choice(tuple(RAIN))))


def render_rain(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    hiss, drops, drop_gain = RAIN[labels.variant]
    drop = _blip(0.012, 4000, 0.7)
    return hiss * noise(n, rng, band(3500, 1.3)) + drop_gain * scatter(n, rng, drops, drop)


def sample_wind(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("wind", str(rng.choice(("soft", "strong", "howling"))))


def render_wind(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    center = {"soft": 220, "strong": 420, "howling": 420}[labels.variant]
    gust = slow_curve(n, rng, 1.2, 0.25, 1.0)
    out = noise(n, rng, band(center, 1.0)) * gust
    if labels.variant == "howling":
        pitch = 500 * (1 + 0.6 * gust)
        wobble = noise(n, rng, slope(0.5, 1, 25), channels=1)[0]  # keeps the whistle from being a pure tone
        out += 0.7 * np.sin(phase(pitch, n) + wobble) * gust**2
    return out


def sample_sea(rng: np.random.Generator, seconds: float) -> Labels:
    variant = str(rng.choice(("calm", "stormy")))
    return Labels("sea", variant, rate=0.25 if variant == "calm" else 0.45)


def render_sea(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    wave = swell(n, labels.rate, start=float(rng.uniform(0.1, 0.4)))
    rumble = noise(n, rng, slope(0.8, 60, 2500)) * (0.25 + 0.75 * wave)
    foam = noise(n, rng, band(4000, 1.0)) * wave**3  # hiss when the wave breaks
    return rumble + (0.5 if labels.variant == "calm" else 1.0) * foam


def sample_fire(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("fire", str(rng.choice(("small", "big"))))


def render_fire(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    big = labels.variant == "big"
    roar = noise(n, rng, slope(0.9, 40, 1200)) * slow_curve(n, rng, 4, 0.6, 1.0)
    crackles = scatter(n, rng, 22 if big else 12, _blip(0.02, 3000, 1.2))
    return (0.5 if big else 0.2) * roar + crackles


def sample_engine(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("engine", str(rng.choice(tuple(ENGINES))))


def render_engine(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    low, high = ENGINES[labels.variant]
    if labels.variant == "revving":
        ignition = low + (high - low) * swell(n, 0.6)
    else:
        ignition = np.full(n, rng.uniform(low, high), np.float32)
    ignition = ignition * slow_curve(n, rng, 8, 0.985, 1.015)  # no engine turns perfectly evenly
    angle = phase(ignition, n)
    pulses = fm_growl(angle, 2.5) + 0.6 * fm_growl(angle / 2, 1.5)
    exhaust = noise(n, rng, slope(0.7, 80, 4000), channels=1)[0]
    return pulses + 0.25 * exhaust * (1 + np.sin(angle))


def sample_static(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("static", str(rng.choice(("radio", "vinyl", "tape"))))


def render_static(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    if labels.variant == "tape":
        return noise(n, rng, band(7000, 0.9))
    crackle = scatter(n, rng, 120 if labels.variant == "radio" else 18, _blip(0.004, 5000, 1.0))
    hiss = noise(n, rng, band(2500, 1.0 if labels.variant == "radio" else 2.0))
    return crackle + (0.5 if labels.variant == "radio" else 0.03) * hiss


SOUNDS = {
    "rain": Sound(1.2, (2.0, 6.0), sample_rain, render_rain),
    "wind": Sound(1.0, (2.5, 6.0), sample_wind, render_wind),
    "sea": Sound(1.0, (3.5, 6.0), sample_sea, render_sea),
    "fire": Sound(0.8, (2.0, 5.0), sample_fire, render_fire),
    "engine": Sound(0.8, (2.0, 5.0), sample_engine, render_engine),
    "static": Sound(0.7, (1.0, 4.0), sample_static, render_static),
}
