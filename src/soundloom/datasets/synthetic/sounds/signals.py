"""Building blocks of synthetic sounds: time, phase, envelopes, noise, mixing."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 44_100  # Hz

FloatArray = NDArray[np.float32]
Response = Callable[[NDArray[np.floating]], NDArray[np.floating]]  # frequencies in Hz to gains

# Phases wrap after ten cycles, so that partials at ratios in tenths (bells: 2.4, 5.9) stay continuous.
WRAP_CYCLES = 10


def samples(seconds: float) -> int:
    """Convert seconds to samples."""
    return round(seconds * SAMPLE_RATE)


def times(n: int) -> FloatArray:
    """Return the time of n samples in seconds, (n,)."""
    return np.arange(n, dtype=np.float32) / np.float32(SAMPLE_RATE)


def phase(hz: float | NDArray, n: int) -> FloatArray:
    """Return the wrapped phase (n,) in radians of an oscillator with constant or changing (n,) frequency."""
    step = np.asarray(hz, np.float64) / SAMPLE_RATE
    cycles = np.arange(n) * step if step.ndim == 0 else np.cumsum(step) - step[0]
    # Wrap in float64: a float32 count of cycles is audibly out of tune after seconds.
    cycles -= WRAP_CYCLES * np.floor(cycles / WRAP_CYCLES)
    return (2 * np.pi * cycles).astype(np.float32)


def decay(n: int, seconds: float) -> FloatArray:
    """Exponential envelope from 1 to -60 dB after `seconds`."""
    return np.exp(times(n) * np.float32(-6.91 / seconds))


def smooth_edges(sound: FloatArray, attack: float, release: float) -> FloatArray:
    """Apply raised-cosine fades in place, each over the given seconds but at most half of the sound."""
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
    """Frequency modulation of a sine by itself, rich in harmonics, for machines and horns; shape of `angle`."""
    return np.asarray(np.sin(angle + depth * np.sin(angle)), np.float32)


def swell(n: int, per_second: float, start: float = 0.0) -> FloatArray:
    """Raised cosine (n,), 0 … 1, with `per_second` cycles per second, from `start` cycles on."""
    return 0.5 - 0.5 * np.cos(times(n) * np.float32(2 * np.pi * per_second) + np.float32(2 * np.pi * start))


def slow_curve(n: int, rng: np.random.Generator, per_second: float, low: float, high: float) -> FloatArray:
    """Linear interpolation (n,) of `per_second` random values between low and high."""
    knots = max(2, int(n / SAMPLE_RATE * per_second) + 2)
    curve = np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.uniform(low, high, knots))
    return curve.astype(np.float32)


def fft_length(n: int) -> int:
    """Return the smallest length from n up that is a small multiple of a power of two, for a fast FFT."""
    power = max(0, (n - 1).bit_length() - 4)
    return next(m << power for m in (8, 9, 10, 12, 15, 16) if m << power >= n)


def noise(n: int, rng: np.random.Generator, response: Response, channels: int = 2) -> FloatArray:
    """Independent Gaussian noise (channels, n) of unit RMS with the given spectrum."""
    length = fft_length(n)
    gain = response(np.fft.rfftfreq(length, 1 / SAMPLE_RATE))
    spectrum = rng.standard_normal((channels, 2 * gain.size)).view(np.complex128)
    # The RMS follows from the spectrum (Parseval); normalizing the result would make the level random.
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
    """Linear convolution along the last axis, truncated to the length of `sound`."""
    n = sound.shape[-1]
    length = fft_length(n + kernel.shape[-1])
    product = np.fft.rfft(sound, length) * np.fft.rfft(kernel, length)
    return np.fft.irfft(product, length)[..., :n].astype(np.float32)


def add_at(target: FloatArray, sound: FloatArray, start: int) -> None:
    """Mix `sound` into `target` from sample `start`, in place, truncated at the end of `target`."""
    room = target.shape[-1] - start
    if room > 0:
        part = sound[..., :room]
        target[..., start : start + part.shape[-1]] += part


def strike(n: int, starts: Iterable[float], hits: Iterable[FloatArray]) -> FloatArray:
    """Mix one hit at each time in seconds, (n,); surplus hits are ignored."""
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
