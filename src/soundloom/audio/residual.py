"""Subtract the result of an edit from its source, to hear what the edit removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip
from soundloom.audio.records import recorded_prompt
from soundloom.errors import RequestError
from soundloom.version import __version__

MAX_DELAY = 0.05  # seconds; codecs and resamplers shift audio by less
WINDOW = 8192  # samples
LEAST_CORRELATION = 0.1  # of the coherent spectrum; below it there is nothing by which the two could be aligned
TIE = 0.95  # of the highest peak; periodic audio has many that are nearly equal
LOWEST = 40.0  # Hz, lower edge of the first band in which levels are compared
FAINT = 1e-6  # of the energy of the loudest band
METHOD = (
    "source - gain * result; delay by cross-correlation of coherent phases, gain of each channel by least squares in "
    "third-octave bands (median)"
)
KEPT = ("model", "model_hash", "license", "engine", "seed", "understood", "source")  # fields of the result's record


@dataclass(frozen=True)
class Alignment:
    """How a result fits its source: it is `delay` samples late, and `gains` times it is closest to the source."""

    delay: int
    gains: tuple[float, ...]  # of each channel of the source
    correlation: float  # 1 for a copy, 0 for unrelated audio


def residual(source: Clip, result: Clip, max_delay: float = MAX_DELAY) -> Clip:
    """Return `source` minus `result`, aligned in time and matched in level: what an edit removed.

    It has the rate, length and channels of the source. The delay, within `max_delay` seconds, has the highest
    cross-correlation, and the gain of each channel fits best in least squares; see `align`. A mono result is subtracted
    from every channel. What an edit added is in the residual too, inverted. The record states delay and gains: the
    delayed result times the gains, plus the residual, is the source. Raises RequestError.
    """
    if source.sample_rate != result.sample_rate:
        raise RequestError(
            f"a residual needs clips of one rate, found {source.sample_rate} and {result.sample_rate} Hz",
            "resample one of them first",
        )
    if not (source.samples and result.samples):
        raise RequestError("a residual needs clips that have samples")
    if not 0 <= max_delay <= 1:
        raise RequestError(f"the longest delay must be 0 to 1 s, found {max_delay:g}")
    reference, other = source.audio, to_channels(result.audio, source.channels)
    found = align(reference, other, source.sample_rate, round(max_delay * source.sample_rate))
    moved = _shifted(other, found.delay, source.samples)
    left = reference - np.array(found.gains)[:, None] * moved
    facts: dict[str, Any] = {
        "method": METHOD,
        "delay_samples": found.delay,
        "gains": list(found.gains),
        "correlation": round(found.correlation, 4),
        "max_delay": max_delay,
    }
    known = {name: result.record[name] for name in KEPT if name in result.record}
    record = {"soundloom": __version__, "mode": "residual", "prompt": recorded_prompt(result.record), **known}
    return Clip(left.astype(np.float32), source.sample_rate, {**record, "residual": facts}, source.source_format)


def align(source: np.ndarray, result: np.ndarray, rate: int, max_delay: int) -> Alignment:
    """Fit `result` (c, m) to `source` (c, n), with a delay of at most `max_delay` samples in either direction.

    Plain correlation and least squares would be misled by low notes, which are loud and which parts of music share.
    So all frequencies count alike, as far as the two are coherent there.
    """
    end = result.shape[1]
    delay = _delay(_spectra(source[:, : end + max_delay], result, 4 * max_delay), max_delay)
    moved = _shifted(result, delay, source.shape[1])
    both = slice(max(0, -delay), max(0, end - delay))  # where there are samples of the result
    gains = [_gain(_spectra(source[c : c + 1, both], moved[c : c + 1, both]), rate) for c in range(len(source))]
    norm = float(np.sqrt(_energy(source).sum() * _energy(moved).sum()))
    shared = float(np.einsum("cn,cn->", source, moved, dtype=np.float64))
    return Alignment(delay, tuple(gains), shared / norm if norm else 0.0)


@dataclass(frozen=True)
class _Spectra:
    """Sums over channels and windows of the cross spectrum of source and result, and of their power spectra."""

    cross: NDArray[np.complex128]
    source: NDArray[np.float64]
    result: NDArray[np.float64]

    def coherence(self) -> NDArray[np.float64]:
        """Return the squared coherence at each frequency, from 0 to 1."""
        return _divided(np.abs(self.cross) ** 2, self.source * self.result)


def _spectra(source: np.ndarray, result: np.ndarray, least: int = 0) -> _Spectra:
    """Return spectra from windows that overlap by half, of 8192 samples or the power of two above `least`."""
    size = max(WINDOW, 1 << max(least - 1, 0).bit_length())
    total = _Spectra(np.zeros(size // 2 + 1, complex), np.zeros(size // 2 + 1), np.zeros(size // 2 + 1))
    for start in range(-size // 2, source.shape[1], size // 2):
        x, y = (np.fft.rfft(_shifted(audio, start, size) * np.hanning(size)) for audio in (source, result))
        total.cross[:] += (np.conj(x) * y).sum(axis=0)
        total.source[:] += (np.abs(x) ** 2).sum(axis=0)
        total.result[:] += (np.abs(y) ** 2).sum(axis=0)
    return total


def _delay(spectra: _Spectra, reach: int) -> int:
    """Return the delay with the highest cross-correlation; of nearly equal peaks the shortest, 0 if there is none."""
    weights = spectra.coherence()
    phases = weights * _divided(spectra.cross, np.abs(spectra.cross))
    # The ends of the spectrum occur once, other frequencies twice.
    total = 2 * weights.sum() - weights[0] - weights[-1]
    products = np.fft.irfft(phases) * (2 * len(phases) - 2)
    around = np.roll(products, reach + 1)[: 2 * reach + 3]  # from -reach - 1
    is_peak = (around[1:-1] >= around[:-2]) & (around[1:-1] >= around[2:])
    inside = np.where(is_peak, around[1:-1], 0)
    if not inside.max() > LEAST_CORRELATION * total:
        return 0
    equal = np.flatnonzero(inside >= TIE * inside.max()) - reach
    return int(equal[np.abs(equal).argmin()])


def _gain(spectra: _Spectra, rate: int) -> float:
    """Return the median of the gains that fit best, in least squares, in bands of a third of an octave.

    Each band weighs as much as its coherence, and bands without sound of the result do not count.
    """
    edges = LOWEST * 2 ** (np.arange(int(3 * np.log2(rate / 2 / LOWEST)) + 1) / 3)
    bins = np.unique(np.searchsorted(np.arange(len(spectra.source)), edges * (len(spectra.source) - 1) / (rate / 2)))
    cross, source, result = (
        np.add.reduceat(values, bins[bins < len(values)])
        for values in (spectra.cross.real, spectra.source, spectra.result)
    )
    audible = result > FAINT * result.max(initial=0.0)
    gains = _divided(cross, result)
    weights = np.where(audible, _divided(np.maximum(cross, 0) ** 2, source * result), 0)
    order = np.argsort(gains)
    sums = np.cumsum(weights[order])
    return float(gains[order][np.searchsorted(sums, sums[-1] / 2)]) if sums[-1] > 0 else 0.0


def _divided(a: np.ndarray, b: np.ndarray) -> Any:
    """Return a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _shifted(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Return `samples` samples from `start`, which may be negative, with silence outside the audio."""
    out = np.zeros((audio.shape[0], samples), audio.dtype)
    first, last = max(0, start), min(audio.shape[1], start + samples)
    if first < last:
        out[:, first - start : last - start] = audio[:, first:last]
    return out


def _energy(audio: np.ndarray) -> NDArray[np.float64]:
    return np.einsum("cn,cn->c", audio, audio, dtype=np.float64)
