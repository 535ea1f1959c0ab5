"""Building blocks of every synthetic sound: time, phase, envelopes, noise, placing one sound in another."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 44_100  # Hz

FloatArray = NDArray[np.float32]
Response = Callable[[NDArray[np.floating]], NDArray[np.floating]]  # gain for each frequency in Hz

# Phases wrap after ten cycles, so that partials at ratios in tenths (bells: 2.4, 5.9) stay continuous.
WRAP_CYCLES = 10


def samples(seconds: float) -> int:
    """Whole samples in a time."""
    return round(seconds * SAMPLE_RATE)


def times(n: int) -> FloatArray:
    """Time of each of n samples in seconds, (n,)."""
    return np.arange(n, dtype=np.float32) / np.float32(SAMPLE_RATE)


def phase(hz: float | NDArray, n: int) -> FloatArray:
    """Angle in radians of an oscillator of constant or changing (n,) frequency, wrapped, (n,)."""
    step = np.asarray(hz, np.float64) / SAMPLE_RATE
    cycles = np.arange(n) * step if step.ndim == 0 else np.cumsum(step) - step[0]
    # Wrapped in float64 first: a float32 count of cycles would be audibly out of tune after seconds.
    cycles -= WRAP_CYCLES * np.floor(cycles / WRAP_CYCLES)
    return (2 * np.pi * cycles).astype(np.float32)


def decay(n: int, seconds: float) -> FloatArray:
    """Exponential envelope that starts at 1 and has fallen by 60 dB after `seconds`."""
    return np.exp(times(n) * np.float32(-6.91 / seconds))


def smooth_edges(sound: FloatArray, attack: float, release: float) -> FloatArray:
    """Raised-cosine start and end, in place, over the given seconds (each at most half of the sound)."""
    n = sound.shape[-1]
    rise, fall = min(samples(attack), n // 2), min(samples(release), n // 2)
    if rise:
        sound[..., :rise] *= _half_cosine(rise)
    if fall:
        sound[..., n - fall :] *= _half_cosine(fall)[::-1]
    return sound


def _half_cosine(n: int) -> FloatArray:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)


def fm_growl(angle: NDArray[np.floating], depth: float) -> FloatArray:
    """Harmonic-rich tone from one sine that modulates another, for machines and horns, like `angle`."""
    return np.asarray(np.sin(angle + depth * np.sin(angle)), np.float32)


def swell(n: int, per_second: float, start: float = 0.0) -> FloatArray:
    """Raised cosine that rises and falls `per_second` times, 0 … 1, from `start` cycles on, (n,)."""
    return 0.5 - 0.5 * np.cos(times(n) * np.float32(2 * np.pi * per_second) + np.float32(2 * np.pi * start))


def slow_curve(n: int, rng: np.random.Generator, per_second: float, low: float, high: float) -> FloatArray:
    """Random values between low and high, `per_second` of them, joined by straight lines, (n,)."""
    knots = max(2, int(n / SAMPLE_RATE * per_second) + 2)
    curve = np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.uniform(low, high, knots))
    return curve.astype(np.float32)


def fft_length(n: int) -> int:
    """Find the least length from n on that is a small multiple of a power of two, for a fast transform."""
    power = max(0, (n - 1).bit_length() - 4)
    return next(m << power for m in (8, 9, 10, 12, 15, 16) if m << power >= n)


def noise(n: int, rng: np.random.Generator, response: Response, channels: int = 2) -> FloatArray:
    """Independent Gaussian noise of unit RMS per channel with the given spectrum, (channels, n)."""
    length = fft_length(n)
    gain = response(np.fft.rfftfreq(length, 1 / SAMPLE_RATE))
    spectrum = rng.standard_normal((channels, 2 * gain.size)).view(np.complex128)
    # The RMS follows from the spectrum (Parseval); measuring the result would make the level depend on luck.
    scale = length / 2 / np.sqrt(np.sum(gain**2))
    return np.fft.irfft(spectrum * (gain * scale), length)[:, :n].astype(np.float32)


def band(center: float, octaves: float) -> Response:
    """Gaussian band on a log-frequency axis; `octaves` is its standard deviation."""
    return lambda hz: np.exp(-0.5 * (np.log2(np.maximum(hz, 1.0) / center) / octaves) ** 2)


def slope(power: float, low: float = 20.0, high: float = 18_000.0) -> Response:
    """Amplitude falling as frequency to the `-power` (0 white, 0.5 pink, 1 brown) between two limits."""

    def response(hz: NDArray[np.floating]) -> NDArray[np.floating]:
        hz = np.maximum(hz, 1.0)
        return hz**-power / np.sqrt((1 + (low / hz) ** 6) * (1 + (hz / high) ** 6))

    return response


def convolve(sound: FloatArray, kernel: FloatArray) -> FloatArray:
    """Linear convolution along the last axis, cut to the length of `sound`."""
    n = sound.shape[-1]
    length = fft_length(n + kernel.shape[-1])
    product = np.fft.rfft(sound, length) * np.fft.rfft(kernel, length)
    return np.fft.irfft(product, length)[..., :n].astype(np.float32)


def add_at(target: FloatArray, sound: FloatArray, start: int) -> None:
    """Mix `sound` into `target` from sample `start`, in place; what would lie past the end is dropped."""
    room = target.shape[-1] - start
    if room > 0:
        part = sound[..., :room]
        target[..., start : start + part.shape[-1]] += part


def strike(n: int, starts: Iterable[float], hits: Iterable[FloatArray]) -> FloatArray:
    """One hit at each time in seconds, mixed into n samples, (n,); there may be more hits than times."""
    out = np.zeros(n, np.float32)
    for start, hit in zip(starts, hits, strict=False):
        add_at(out, hit, samples(start))
    return out


def scatter(n: int, rng: np.random.Generator, per_second: float, kernel: FloatArray, channels: int = 2) -> FloatArray:
    """Copies of a short kernel at random times and levels, (channels, n)."""
    impulses = np.zeros((channels, n), np.float32)
    hits = rng.poisson(per_second * n / SAMPLE_RATE, channels)
    for channel, count in enumerate(hits):
        impulses[channel, rng.integers(0, n, count)] = rng.uniform(0.2, 1.0, count) ** 2
    return convolve(impulses, kernel)
