"""Short sounds that repeat at even intervals: footsteps, knocks, clocks, beeps, alarms, clicks."""

from itertools import cycle

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, Sound, sample_note
from soundloom.datasets.synthetic.sounds.signals import (
    FloatArray,
    add_at,
    band,
    decay,
    noise,
    phase,
    samples,
    smooth_edges,
    strike,
)
from soundloom.datasets.synthetic.sounds.tones import waveform

FIRST_EVENT = 0.05  # seconds before the first event
ROUND_BEEPS = (440, 500, 600, 800, 880, 1000, 1200, 1500, 2000)

# Resonances in Hz, their time to -60 dB in seconds, and the share of noise.
SURFACES = {
    "wood": ((160.0, 340.0, 620.0), 0.18, 0.3),
    "metal": ((520.0, 1290.0, 2310.0, 3470.0), 0.6, 0.15),
    "glass": ((1900.0, 3150.0, 5200.0), 0.3, 0.1),
}
# Center and width (octaves) of a step's noise, its length, grains per step.
GROUNDS = {
    "wood": (220.0, 0.8, 0.12, 1),
    "gravel": (2800.0, 1.2, 0.05, 6),
    "concrete": (900.0, 0.9, 0.07, 1),
    "snow": (1500.0, 0.7, 0.09, 4),
}
# Pitch in Hz, beeps per second.
ALARMS = {"alarm clock": (2000.0, 4.0), "smoke alarm": (3000.0, 1.5), "buzzer": (200.0, 2.0)}
GAITS = {"slow": 1.25, "walking": 1.8, "running": 3.0}  # steps per second


def event_times(count: int, rate: float, first: float = FIRST_EVENT) -> list[float]:
    """Times in seconds of evenly spaced events."""
    return [first + i / rate for i in range(count)]


def _times_throughout(n: int, rate: float) -> list[float]:
    """Times of all events that start within n samples."""
    return event_times(1 + int((n / samples(1) - FIRST_EVENT) * rate), rate)


def _sample_count(rng: np.random.Generator, seconds: float, rate: float, most: int) -> int:
    room = max(1, int((seconds - FIRST_EVENT) * rate))
    return int(rng.integers(1, min(most, room) + 1))


def sample_knock(rng: np.random.Generator, seconds: float) -> Labels:
    rate = float(rng.choice((2.0, 3.0, 4.0)))
    material = str(rng.choice(tuple(SURFACES), p=(0.5, 0.3, 0.2)))
    return Labels("knock", rate=rate, count=_sample_count(rng, seconds, rate, 5), material=material)


def render_knock(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    modes, ring, noisiness = SURFACES[labels.material]
    size = samples(ring)
    body = np.sum([np.sin(phase(hz, size)) / (i + 1) for i, hz in enumerate(modes)], axis=0)
    body = body * decay(size, ring)

    def hit() -> FloatArray:
        tap = noise(size, rng, band(modes[-1], 1.0), channels=1)[0] * decay(size, 0.03)
        return (body + noisiness * tap).astype(np.float32) * np.float32(rng.uniform(0.8, 1.0))

    return strike(n, event_times(labels.count, labels.rate), (hit() for _ in range(labels.count)))


def sample_footsteps(rng: np.random.Generator, seconds: float) -> Labels:
    gait = str(rng.choice(tuple(GAITS)))
    return Labels("footsteps", gait, rate=GAITS[gait], material=str(rng.choice(tuple(GROUNDS))))


def render_footsteps(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    center, octaves, length, grains = GROUNDS[labels.material]
    size = samples(length)

    def step() -> FloatArray:
        out = np.zeros(samples(0.2), np.float32)
        for i in range(grains):  # heel, then the ground giving way
            grain = noise(size, rng, band(center, octaves), channels=1)[0] * decay(size, length)
            add_at(out, grain * np.float32(rng.uniform(0.5, 1.0)), samples(0.02 * i))
        return out

    starts = _times_throughout(n, labels.rate)
    return strike(n, starts, (step() for _ in starts))


def sample_clock(rng: np.random.Generator, seconds: float) -> Labels:
    variant = str(rng.choice(("clock", "pocket watch")))
    return Labels("clock", variant, rate=1.0 if variant == "clock" else 4.0)


def render_clock(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    """Tick and tock differ in pitch; the small watch is higher and faster."""
    high = 1.0 if labels.variant == "clock" else 2.0
    size = samples(0.06)
    tick, tock = (np.sin(phase(hz * high, size)) * decay(size, 0.06) for hz in (2200.0, 1500.0))
    starts = _times_throughout(n, labels.rate)
    return strike(n, starts, cycle((tick, tock)))


def sample_beeps(rng: np.random.Generator, seconds: float) -> Labels:
    rate = float(rng.choice((1.0, 2.0, 4.0)))
    hz = sample_note(rng, 69, 93) if rng.random() < 0.4 else float(rng.choice(ROUND_BEEPS))
    return Labels("beeps", hz=hz, rate=rate, count=_sample_count(rng, seconds, rate, 6))


def render_beeps(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    seconds, first = min(0.15, 0.5 / labels.rate), FIRST_EVENT
    if labels.grid:  # integer number of latents, see `tuning.tuned`
        seconds, first = max(1, round(seconds * labels.grid)) / labels.grid, 1 / labels.grid
    beep = smooth_edges(np.sin(phase(labels.hz, samples(seconds))), 0.004, 0.008)
    return strike(n, event_times(labels.count, labels.rate, first), [beep] * labels.count)


def sample_alarm(rng: np.random.Generator, seconds: float) -> Labels:
    variant = str(rng.choice(tuple(ALARMS)))
    return Labels("alarm", variant, rate=ALARMS[variant][1])


def render_alarm(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    size = samples(0.55 / labels.rate)
    shape = "sawtooth" if labels.variant == "buzzer" else "square"
    hz = ALARMS[labels.variant][0]
    pulse = smooth_edges(waveform(shape, phase(hz, size), hz), 0.003, 0.005)
    starts = _times_throughout(n, labels.rate)
    return strike(n, starts, [pulse] * len(starts))


def sample_clicks(rng: np.random.Generator, seconds: float) -> Labels:
    rate = float(rng.choice((2.0, 4.0, 8.0)))
    return Labels("clicks", rate=rate, count=_sample_count(rng, seconds, rate, 8))


def render_clicks(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    size = samples(0.04)
    click = np.sin(phase(3000.0, size)) * decay(size, 0.03)
    return strike(n, event_times(labels.count, labels.rate), [click] * labels.count)


SOUNDS = {
    "footsteps": Sound(1.0, (2.0, 5.0), sample_footsteps, render_footsteps),
    "knock": Sound(0.8, (1.0, 2.5), sample_knock, render_knock),
    "clock": Sound(0.6, (2.5, 5.0), sample_clock, render_clock),
    "beeps": Sound(1.0, (1.0, 3.0), sample_beeps, render_beeps),
    "alarm": Sound(0.7, (1.5, 4.0), sample_alarm, render_alarm),
    "clicks": Sound(0.4, (1.0, 2.0), sample_clicks, render_clicks),
}
