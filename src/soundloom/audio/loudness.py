"""Measure integrated loudness (ITU-R BS.1770-4, EBU R 128) and true peak, and compute a gain to a target loudness."""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from soundloom.audio.blocks import Stream, as_stream

ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU relative to the loudness of blocks above the absolute gate
HOPS_PER_SECOND = 10  # blocks of 0.4 s overlap by 75 %
HOPS_PER_BLOCK = 4
HOPS_PER_SHORT_TERM = 30  # 3 s
RANGE_GATE = -20.0  # LU relative to the mean of short-term levels above the absolute gate
RANGE_PERCENTILES = (0.10, 0.95)
MEMORY_SECONDS = 0.5  # the filter decays by e every 4.2 ms; after this time it is below float64 precision
CHUNK_SECONDS = 10  # audio filtered at once, which limits memory
CHANNEL_WEIGHTS = {5: (1, 1, 1, 1.41, 1.41), 6: (1, 1, 1, 0, 1.41, 1.41)}  # L R C (LFE) Ls Rs; else all 1
OVERSAMPLING = 4
TRUE_PEAK = -1.0  # dBTP, the default limit


def integrated_loudness(audio: np.ndarray | Stream, rate: int) -> float:
    """Return the integrated loudness of audio (c, n) in LUFS; -inf for silence. Clips under 0.4 s are one block."""
    energy, lengths = _hop_energies(as_stream(audio), rate)
    if not len(lengths):
        return -math.inf
    width = min(HOPS_PER_BLOCK, len(lengths))
    ones = np.ones(width)
    power = np.convolve(energy, ones, "valid") / np.convolve(lengths, ones, "valid")
    power = power[power > _power(ABSOLUTE_GATE)]
    if not len(power):
        return -math.inf
    return _lufs(power[power > _power(_lufs(power.mean()) + RELATIVE_GATE)].mean())


def short_term_loudness(audio: np.ndarray | Stream, rate: int) -> np.ndarray:
    """Return the loudness in LUFS of each window of 3 s of audio (c, n), every 0.1 s; none for shorter clips."""
    energy, lengths = _hop_energies(as_stream(audio), rate)
    if len(lengths) < HOPS_PER_SHORT_TERM:
        return np.empty(0)
    ones = np.ones(HOPS_PER_SHORT_TERM)
    power = np.convolve(energy, ones, "valid") / np.convolve(lengths, ones, "valid")
    return np.asarray(-0.691 + 10 * np.log10(np.maximum(power, np.finfo(float).tiny)))


def loudness_range(audio: np.ndarray | Stream, rate: int) -> float:
    """Return the loudness range in LU of audio (c, n) by EBU Tech 3342; NaN for clips under 3 s and for silence.

    It is the distance of the 10th and the 95th percentile of gated short-term loudness, at the nearest ranks.
    """
    levels = short_term_loudness(audio, rate)
    levels = levels[levels >= ABSOLUTE_GATE]
    if not len(levels):
        return math.nan
    mean = float(np.mean(10 ** ((levels + 0.691) / 10)))
    levels = np.sort(levels[levels >= _lufs(mean) + RANGE_GATE])
    low, high = (levels[math.floor((len(levels) - 1) * share + 0.5)] for share in RANGE_PERCENTILES)
    return float(high - low)


def true_peak(audio: np.ndarray | Stream, rate: int) -> float:
    """Return the true peak of audio (c, n) in dBTP, measured at four times the rate; -inf for silence."""
    import soxr

    stream = as_stream(audio)
    resampler = soxr.ResampleStream(rate, OVERSAMPLING * rate, stream.channels, dtype="float32", quality="HQ")
    highest, done = 0.0, 0
    for chunk in stream.chunks(CHUNK_SECONDS * rate):
        done += chunk.shape[1]
        dense = resampler.resample_chunk(np.ascontiguousarray(chunk.T, dtype=np.float32), last=done >= stream.samples)
        highest = max(highest, *(float(np.abs(values).max(initial=0.0)) for values in (chunk, dense)))
    return 20 * math.log10(highest) if highest else -math.inf


def gain_to_loudness(
    audio: np.ndarray | Stream, rate: int, target_lufs: float, true_peak_dbtp: float = TRUE_PEAK
) -> tuple[float, bool]:
    """Return the gain in dB that brings audio (c, n) to the target, and whether the true peak limited it.

    There is no limiter: a gain that would exceed the true peak limit is reduced. Silence has a gain of 0.
    """
    loudness = integrated_loudness(audio, rate)
    if loudness == -math.inf:
        return 0.0, False
    wanted = target_lufs - loudness
    allowed = true_peak_dbtp - true_peak(audio, rate)
    return min(wanted, allowed), allowed < wanted


def k_weighting(rate: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return the two biquads (b, a) of K-weighting: a high shelf, then a high-pass.

    BS.1770 lists coefficients for 48 kHz only; these analog parameters reproduce them.
    """
    k = math.tan(math.pi * 1681.974450955533 / rate)
    q = 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    scale = 1 + k / q + k * k
    shelf = (
        np.array([high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k]) / scale,
        np.array([1, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale]),
    )
    k = math.tan(math.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    scale = 1 + k / q + k * k
    poles = np.array([1, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale])
    return shelf, (np.array([1.0, -2.0, 1.0]), poles)


def _hop_energies(stream: Stream, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the K-weighted energy of each complete hop, summed over weighted channels, and its length in samples."""
    weights = np.array(CHANNEL_WEIGHTS.get(stream.channels, (1,) * stream.channels))
    edges = np.arange(CHUNK_SECONDS * HOPS_PER_SECOND) * rate // HOPS_PER_SECOND
    energies, lengths = [np.empty(0)], [np.empty(0)]
    for chunk in _k_weighted(stream, rate):
        starts = edges[edges < chunk.shape[1]]
        energies.append(np.add.reduceat(weights @ chunk**2, starts))
        lengths.append(np.diff(starts, append=chunk.shape[1]))
    energy, length = np.concatenate(energies), np.concatenate(lengths)
    if len(length) > HOPS_PER_BLOCK and length[-1] < rate // HOPS_PER_SECOND:
        return energy[:-1], length[:-1]  # the standard drops an incomplete block
    return energy, length


def _k_weighted(stream: Stream, rate: int) -> Iterator[np.ndarray]:
    """Yield the K-weighted audio in chunks, float64 (c, m), by FFT convolution with the impulse response."""
    size, response = _k_response(rate)
    tail = int(MEMORY_SECONDS * rate)
    before: np.ndarray | None = None
    for chunk in stream.chunks(CHUNK_SECONDS * rate):
        piece = chunk if before is None else np.concatenate([before, chunk], axis=1)
        spectrum = np.fft.rfft(piece, size, axis=1) * response
        yield np.fft.irfft(spectrum, size, axis=1)[:, piece.shape[1] - chunk.shape[1] : piece.shape[1]]
        before = chunk[:, -tail:]


@lru_cache(maxsize=4)
def _k_response(rate: int) -> tuple[int, np.ndarray]:
    """Return the FFT size for one chunk, and the K-weighting response at its (size // 2 + 1) frequencies."""
    size = 1 << math.ceil(math.log2((CHUNK_SECONDS + MEMORY_SECONDS) * rate))
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    response = np.ones(size // 2 + 1, complex)
    for b, a in k_weighting(rate):
        response *= np.polyval(b[::-1], z) / np.polyval(a[::-1], z)
    return size, response


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
