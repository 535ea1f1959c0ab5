"""Figures of one decoded clip against its original."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.blocks import as_stream
from soundloom.audio.loudness import integrated_loudness
from soundloom.audio.measure.frames import FRAME_RATE, analyze
from soundloom.audio.measure.onsets import LAG, compressed, loudest, mean_rises, onset_times, rises
from soundloom.audio.mel import log_mel_difference
from soundloom.evaluation.signals import si_sdr, snr
from soundloom.evaluation.statistics.intervals import Interval, percentiles, resample_indices

TREBLE = 10_000.0  # Hz
MIN_POWER = 1e-9  # mean power, -90 dBFS; quieter treble and sides count as this
NEAR_ONSET = 3  # frames of 11.6 ms on each side in which a smeared onset is looked for
LINE_FLOOR = 1e-6  # of envelope powers, relative to the squared mean: modulation by 0.1 % is inaudible

Audio = NDArray[np.floating]


def codec_figures(decoded: Audio, real: Audio, rate: int) -> dict[str, float]:
    """Return figures of a decoded clip and its original (channels, samples), by name; NaN where there is none.

    Differences are decoded minus original, in dB. `transients` is the strength of the original's onsets in the decoded
    clip over that in the original: below 1 they are smeared. SI-SDR does not hear a change of sign, such as that of the
    side when channels are swapped; SNR does. `missing_samples` is by how much the decoded clip is shorter.
    """
    missing = real.shape[1] - decoded.shape[1]
    length = min(decoded.shape[1], real.shape[1])
    decoded, real = decoded[:, :length].astype(np.float64), real[:, :length].astype(np.float64)
    return {
        "log_mel": log_mel_difference(decoded, real, rate),
        "si_sdr": joint_si_sdr(decoded, real),
        "snr": _finite(snr(decoded, real)),
        **_mid_and_side(decoded, real, rate),
        "treble": treble_change(decoded, real, rate),
        "transients": onset_ratio(decoded, real, rate),
        "loudness_shift": loudness_shift(decoded, real, rate),
        "missing_samples": float(missing),
    }


def joint_si_sdr(decoded: Audio, real: Audio) -> float:
    """Return the SI-SDR in dB of all channels as one signal, without their means; NaN for silence."""
    flat = [(signal - signal.mean(axis=1, keepdims=True)).ravel() for signal in (decoded, real)]
    return _finite(float(si_sdr(*flat))) if flat[0].any() and flat[1].any() else math.nan


def _mid_and_side(decoded: Audio, real: Audio, rate: int) -> dict[str, float]:
    """Return figures of the sum and of the difference of two channels; none for mono."""
    if len(real) != 2:
        return {}
    found = {}
    for name, sign in (("mid", 1), ("side", -1)):
        a, b = (((signal[0] + sign * signal[1]) / 2)[None] for signal in (decoded, real))
        found[f"{name}_log_mel"] = log_mel_difference(a, b, rate)
        found[f"{name}_si_sdr"] = joint_si_sdr(a, b)
        found[f"{name}_snr"] = _finite(snr(a, b))
        found[f"{name}_energy"] = _change(float((a**2).mean()), float((b**2).mean()))
    return found


def loudness_shift(decoded: Audio, real: Audio, rate: int) -> float:
    """Return the loudness of the decoded clip minus that of the original in LU; NaN if either is silent."""
    after, before = (integrated_loudness(audio, rate) for audio in (decoded, real))
    return after - before if math.isfinite(after) and math.isfinite(before) else math.nan


def treble_change(decoded: Audio, real: Audio, rate: int) -> float:
    """Return the change of the energy above 10 kHz in dB; NaN for rates that have none."""
    if rate / 2 <= TREBLE:
        return math.nan
    return _change(_treble(decoded, rate), _treble(real, rate))


def _treble(audio: Audio, rate: int) -> float:
    """Mean power above 10 kHz, a full-scale sine having 0.5."""
    samples = audio.shape[1]
    power = np.abs(np.fft.rfft(audio, axis=1)) ** 2
    above = np.fft.rfftfreq(samples, 1 / rate) > TREBLE
    return float(2 * power[:, above].sum() / (len(audio) * samples**2))


def _change(after: float, before: float) -> float:
    return 10 * math.log10(max(after, MIN_POWER) / max(before, MIN_POWER))


def onset_ratio(decoded: Audio, real: Audio, rate: int) -> float:
    """Return the strength of the original's onsets in the decoded clip over that in the original; NaN without onsets.

    The strength is the mean rise of compressed band levels, both relative to the original's loudest frame; the
    largest within 35 ms of an onset counts.
    """
    if not np.any(real):
        return math.nan
    bands = [analyze(as_stream(audio.astype(np.float32)), rate).bands for audio in (real, decoded)]
    onsets = np.round(np.array(onset_times(mean_rises(bands[0]))) * FRAME_RATE + LAG / 2).astype(int)
    if not len(onsets):
        return math.nan
    reference = loudest(bands[0])
    before, after = (rises(compressed(part, reference)).mean(axis=1) for part in bands)
    near = onsets[:, None] + np.arange(-NEAR_ONSET, NEAR_ONSET + 1)
    places = np.clip(near, 0, min(len(before), len(after)) - 1)
    return float(after[places].max(axis=1).sum() / before[places].max(axis=1).sum())


def latent_lines(decoded: Sequence[NDArray], real: Sequence[NDArray], seed: int = 0) -> tuple[float, Interval]:
    """Return the largest excess in dB of an envelope line at a multiple of the latent rate, and its interval.

    Arguments are powers (harmonics,) of each clip by `envelope_harmonics`; their means over clips are compared. The
    interval resamples clips.
    """
    pairs = np.array([decoded, real])  # (2, clips, harmonics)

    def excess(indices: NDArray) -> NDArray:
        after, before = pairs[:, indices].mean(axis=-2) + LINE_FLOOR
        return np.asarray((10 * np.log10(after / before)).max(axis=-1))

    draws = resample_indices(pairs.shape[1], seed=seed)
    return float(excess(np.arange(pairs.shape[1]))), percentiles(excess(draws))


def _finite(value: float) -> float:
    """Infinite ratios, of equal clips or silence, have no mean."""
    return value if math.isfinite(value) else math.nan
