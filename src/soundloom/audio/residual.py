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
BLOCK = 1 << 16  # samples per channel that are correlated at once
LEAST_CORRELATION = 0.1  # below it the two have nothing in common by which they could be aligned
TIE = 1e-6  # of the highest correlation; the shortest delay wins among equal ones
METHOD = "source - gain * result; delay by cross-correlation, gain of each channel by least squares"
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
    cross-correlation; the gain of each channel leaves the least energy (least squares). A mono result is subtracted
    from every channel. What an edit added is in the residual too, inverted; an edit that adds much lowers the gain, and
    its residual says little. The record states delay and gains: the delayed result times the gains, plus the residual,
    is the source. Raises RequestError.
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
    found = align(reference, other, round(max_delay * source.sample_rate))
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


def align(source: np.ndarray, result: np.ndarray, max_delay: int) -> Alignment:
    """Fit `result` (c, m) to `source` (c, n), with a delay of at most `max_delay` samples in either direction."""
    products = _cross_correlation(source, result, max_delay)
    norm = float(np.sqrt(_energy(source).sum() * _energy(result).sum()))
    highest = float(products.max())
    delay = 0
    if highest > LEAST_CORRELATION * norm:
        equal = np.flatnonzero(products >= highest * (1 - TIE)) - max_delay
        delay = int(equal[np.abs(equal).argmin()])
    moved = _shifted(result, delay, source.shape[1])
    energy = _energy(moved)
    shared = np.einsum("cn,cn->c", source, moved, dtype=np.float64)
    gains = np.divide(shared, energy, out=np.zeros_like(shared), where=energy > 0)
    return Alignment(delay, tuple(gains.tolist()), float(products[delay + max_delay] / norm) if norm else 0.0)


def _cross_correlation(source: np.ndarray, result: np.ndarray, reach: int) -> NDArray[np.float64]:
    """Return the products of the source with the result at delays from -reach to reach, summed over channels."""
    size = 1 << (BLOCK + 2 * reach - 1).bit_length()
    total = np.zeros(2 * reach + 1)
    for start in range(0, source.shape[1], BLOCK):
        block = source[:, start : start + BLOCK].astype(np.float64)
        around = _shifted(result, start - reach, block.shape[1] + 2 * reach).astype(np.float64)
        spectra = np.conj(np.fft.rfft(block, size)) * np.fft.rfft(around, size)
        total += np.fft.irfft(spectra.sum(axis=0), size)[: 2 * reach + 1]
    return total


def _shifted(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Return `samples` samples from `start`, which may be negative, with silence outside the audio."""
    out = np.zeros((audio.shape[0], samples), audio.dtype)
    first, last = max(0, start), min(audio.shape[1], start + samples)
    if first < last:
        out[:, first - start : last - start] = audio[:, first:last]
    return out


def _energy(audio: np.ndarray) -> NDArray[np.float64]:
    return np.einsum("cn,cn->c", audio, audio, dtype=np.float64)
