"""Drum kits, single hits, loops of one drum, and grooves by genre, on an exact grid of sixteenths."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, Sound, sample_bpm
from soundloom.datasets.synthetic.sounds.signals import (
    FloatArray,
    add_at,
    band,
    decay,
    noise,
    phase,
    samples,
    smooth_edges,
    times,
)

STEPS_PER_BEAT = 4
STROKE = 1024  # samples: tuned drums start on multiples of it, at most 12 ms off
ACCENTS = {"X": 1.0, "x": 0.7, "o": 0.4}  # a step of a pattern: accented, plain, ghost; a dot is a rest


@dataclass(frozen=True)
class Kit:
    """Parameters of a drum kit; frequencies in Hz, times in seconds to -60 dB."""

    kick_hz: float
    kick_seconds: float
    snare_hz: float
    snare_seconds: float
    hat_hz: float
    snap: float  # share of noise in the attacks


KITS = {
    "electronic": Kit(48, 0.9, 185, 0.35, 9500, 0.25),
    "acoustic": Kit(62, 0.45, 210, 0.5, 7500, 0.6),
    "lo-fi": Kit(55, 0.5, 160, 0.3, 4500, 0.4),
}


def _noise_hit(n: int, rng: np.random.Generator, center: float, octaves: float, seconds: float) -> FloatArray:
    return noise(n, rng, band(center, octaves), channels=1)[0] * decay(n, seconds)


def _drop(n: int, hz: float, start_ratio: float, seconds: float) -> FloatArray:
    """Sine whose pitch falls quickly to `hz`, as of a drum skin."""
    pitch = hz * (1 + (start_ratio - 1) * np.exp(-times(n) / 0.025))
    return np.sin(phase(pitch, n)) * decay(n, seconds)


def _kick(kit: Kit, rng: np.random.Generator) -> FloatArray:
    n = samples(kit.kick_seconds)
    click = 0.3 * kit.snap * _noise_hit(n, rng, 3000, 1.0, 0.03)
    return _drop(n, kit.kick_hz, 4.0, kit.kick_seconds) + click


def _snare(kit: Kit, rng: np.random.Generator) -> FloatArray:
    n = samples(kit.snare_seconds)
    wires = _noise_hit(n, rng, 3500, 1.2, kit.snare_seconds)
    return 0.6 * _drop(n, kit.snare_hz, 1.6, 0.2) + (0.2 + 0.2 * kit.snap) * wires


def _clap(kit: Kit, rng: np.random.Generator) -> FloatArray:
    out = _noise_hit(samples(0.35), rng, 1400, 0.6, 0.3)
    for start in (0.011, 0.022):  # several hands, not quite together
        add_at(out, _noise_hit(samples(0.2), rng, 1400, 0.6, 0.1), samples(start))
    return 0.35 * out


def _tom(kit: Kit, rng: np.random.Generator) -> FloatArray:
    n = samples(0.6)
    return 0.8 * _drop(n, kit.kick_hz * 2.2, 1.7, 0.5) + 0.1 * kit.snap * _noise_hit(n, rng, 2000, 1.0, 0.05)


def _rim(kit: Kit, rng: np.random.Generator) -> FloatArray:
    n = samples(0.08)
    return 0.5 * np.sin(phase(kit.snare_hz * 4, n)) * decay(n, 0.06) + 0.2 * _noise_hit(n, rng, 4000, 0.5, 0.03)


def _cowbell(kit: Kit, rng: np.random.Generator) -> FloatArray:
    n = samples(0.4)
    tones = sum(np.sign(np.sin(phase(hz, n))) for hz in (540.0, 800.0))
    return 0.2 * np.asarray(tones, np.float32) * decay(n, 0.35)


def _metal(center: float, octaves: float, seconds: float, gain: float) -> Callable[..., FloatArray]:
    """A band of noise for hats, cymbals and shakers; `center` multiplies the kit's hat frequency."""

    def hit(kit: Kit, rng: np.random.Generator) -> FloatArray:
        return gain * _noise_hit(samples(seconds), rng, kit.hat_hz * center, octaves, seconds)

    return hit


DRUMS: dict[str, Callable[[Kit, np.random.Generator], FloatArray]] = {
    "kick": _kick,
    "snare": _snare,
    "clap": _clap,
    "closed hi-hat": _metal(1.0, 0.4, 0.09, 0.25),
    "open hi-hat": _metal(1.0, 0.5, 0.45, 0.2),
    "tom": _tom,
    "rimshot": _rim,
    "cowbell": _cowbell,
    "shaker": _metal(0.8, 0.3, 0.14, 0.2),
    "crash cymbal": _metal(0.8, 0.8, 1.8, 0.3),
}


@dataclass(frozen=True)
class Groove:
    """One bar of sixteenths per drum, and its range of tempi."""

    low_bpm: int
    high_bpm: int
    bar: dict[str, str]


GROOVES = {
    "house": Groove(
        116,
        130,
        {
            "kick": "X...X...X...X...",
            "clap": "....X.......X...",
            "open hi-hat": "..X...X...X...X.",
            "closed hi-hat": "o...o...o...o...",
        },
    ),
    "techno": Groove(
        124, 150, {"kick": "X...X...X...X...", "closed hi-hat": "..X...X...X...X.", "rimshot": "...x..x....x..x."}
    ),
    "hip hop": Groove(
        76, 104, {"kick": "X......x..X.....", "snare": "....X.......X...", "closed hi-hat": "x.x.x.x.x.x.x.x."}
    ),
    "rock": Groove(
        96, 152, {"kick": "X.......X.x.....", "snare": "....X.......X...", "closed hi-hat": "X.x.X.x.X.x.X.x."}
    ),
    "funk": Groove(
        92, 120, {"kick": "X..x......x..x..", "snare": "....X..o.o..X..o", "closed hi-hat": "xoxoxoxoxoxoxoxo"}
    ),
    "drum and bass": Groove(
        160, 180, {"kick": "X.........X.....", "snare": "....X.......X...", "closed hi-hat": "x.x.x.x.x.x.x.x."}
    ),
    "trap": Groove(
        126, 160, {"kick": "X.....x...X.....", "clap": "........X.......", "closed hi-hat": "x.x.x.xxx.x.xxxx"}
    ),
    "reggae": Groove(
        60, 92, {"kick": "........X.......", "rimshot": "........X.......", "closed hi-hat": "X.x.X.x.X.x.X.x."}
    ),
    "latin": Groove(90, 130, {"kick": "X.....x.X.....x.", "cowbell": "X.x.xx.x.x.xx.x.", "shaker": "xoxoxoxoxoxoxoxo"}),
}

SOLO_BARS = {
    "kick": "X...X...X...X...",
    "snare": "X...X...X...X...",
    "clap": "X...X...X...X...",
    "closed hi-hat": "X.x.X.x.X.x.X.x.",
    "tom": "X..x..x.X..x..x.",
    "rimshot": "X..x..x...x.x...",
    "cowbell": "X...x...X...x...",
    "shaker": "XoxoXoxoXoxoXoxo",
}


@lru_cache(maxsize=64)
def hit(kit: str, drum: str) -> FloatArray:
    """Return one stroke (n,), always the same, as in a sampled kit."""
    rng = np.random.Generator(np.random.Philox(crc32(f"{kit}/{drum}".encode())))
    stroke = DRUMS[drum](KITS[kit], rng).astype(np.float32)
    stroke = smooth_edges(stroke, 0.0005, 0.02)
    stroke.flags.writeable = False
    return stroke


def step_times(bpm: float, swing: float, seconds: float) -> list[float]:
    """Return the times of sixteenths within `seconds`; swing delays every second one."""
    step = 60 / bpm / STEPS_PER_BEAT
    return [(i + swing * (i % 2)) * step for i in range(int(np.ceil(seconds / step)))]


def _sample_swing(rng: np.random.Generator) -> float:
    return 1 / 3 if rng.random() < 0.2 else 0.0


def sample_loop(rng: np.random.Generator, seconds: float) -> Labels:
    variant = str(rng.choice(tuple(GROOVES)))
    groove = GROOVES[variant]
    bpm = sample_bpm(rng, groove.low_bpm, groove.high_bpm)
    return Labels("drum loop", variant, bpm=bpm, swing=_sample_swing(rng), material=_sample_kit(rng))


def sample_solo_loop(rng: np.random.Generator, seconds: float) -> Labels:
    variant = str(rng.choice(tuple(SOLO_BARS), p=(0.3, 0.1, 0.1, 0.2, 0.075, 0.075, 0.075, 0.075)))
    # Only shakers fill the steps that swing would move.
    swing = _sample_swing(rng) if variant == "shaker" else 0.0
    return Labels("single drum loop", variant, bpm=sample_bpm(rng), swing=swing, material=_sample_kit(rng))


def sample_hit(rng: np.random.Generator, seconds: float) -> Labels:
    return Labels("drum hit", str(rng.choice(tuple(DRUMS))), material=_sample_kit(rng))


def _sample_kit(rng: np.random.Generator) -> str:
    return str(rng.choice(tuple(KITS)))


def render_loop(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    return _play_bars(labels, GROOVES[labels.variant].bar, n)


def render_solo_loop(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    return _play_bars(labels, {labels.variant: SOLO_BARS[labels.variant]}, n)


def _play_bars(labels: Labels, bar: dict[str, str], n: int) -> FloatArray:
    out = np.zeros(n, np.float32)
    starts = [samples(start) for start in step_times(labels.bpm, labels.swing, n / samples(1))]
    if labels.grid:  # see `tuning.tuned`
        starts = [(start + STROKE // 2) // STROKE * STROKE for start in starts]
    for drum, pattern in bar.items():
        stroke = hit(labels.material, drum)
        for i, start in enumerate(starts):
            accent = pattern[i % len(pattern)]
            if accent in ACCENTS:
                add_at(out, stroke * np.float32(ACCENTS[accent]), start)
    return out


def render_hit(labels: Labels, n: int, rng: np.random.Generator) -> FloatArray:
    out = np.zeros(n, np.float32)
    add_at(out, hit(labels.material, labels.variant), 0)
    return out


SOUNDS = {
    "drum loop": Sound(3.0, (3.0, 6.0), sample_loop, render_loop),
    "single drum loop": Sound(2.0, (2.5, 6.0), sample_solo_loop, render_solo_loop),
    "drum hit": Sound(1.0, (1.0, 1.5), sample_hit, render_hit),
}
