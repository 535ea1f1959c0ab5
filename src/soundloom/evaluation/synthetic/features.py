"""Audio features for the classifier: level envelope, spectrum, onsets, notes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from soundloom.evaluation.synthetic.pitch import (
    Partials,
    Pitch,
    estimate_pitch,
    spectral_peaks,
    voice_partials,
    wave_partials,
)

LEVEL_RATE = 100  # frames of the level per second
MIN_LEVEL = -60.0  # dB relative to the reference level of `level_curve`
AUDIBLE = -25.0  # dB relative to that level, above which the clip counts as active
SHORT_WINDOW, LONG_WINDOW = 2048, 8192  # samples
NEIGHBORS = 12  # bins on each side with which a spectral peak is compared
ONSET_EDGES = (0.0, 200.0, 800.0, 2500.0, 6000.0)  # lower edges of the onset bands in Hz
MIN_ONSET = 0.08  # relative to the strongest
OCTAVE_EDGES = (30.0, 60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0)
TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}  # semitones
NO_SLOPE = -1000.0  # dB per second: the sound ends too soon to measure its decay
BELLS = ("bell", "church bell", "glockenspiel")

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Features:
    """Features of a clip. Levels in dB relative to its third loudest frame, frequencies in Hz, times in seconds."""

    seconds: float
    active_share: float  # share of the clip above AUDIBLE
    attack: float  # from the first active frame to full level
    decay_rate: float  # dB per second after the peak; 0 for a sustained sound, NO_SLOPE below 50 ms
    level_deviation: float  # deviation of the smoothed level from its trend, dB
    low_hz: float  # a tenth of the power is below it
    median_hz: float  # half of the power
    high_hz: float  # nine tenths
    octave_levels: tuple[float, ...]  # mean power per bin in octaves from 30 Hz up, dB relative to the greatest
    peak_prominence: float  # of spectral peaks over their neighborhood: about 2 for noise, 10 for notes
    pitch_range: float  # semitones between the 10th and the 90th percentile of the strongest peak
    smoothness: float  # 1: the strongest peak glides or stays, 0: it jumps randomly
    pitch_trend: float  # correlation of the strongest peak's pitch with time
    onsets: tuple[float, ...]  # times
    timbre_spread: float  # difference of the spectra of onsets, 0 to 1
    hold_time: float  # median time for which onsets stay within 6 dB of their peak
    onset_irregularity: float  # deviation of the intervals between onsets over their mean
    sine: Pitch | None
    harmonic: Pitch | None
    bell: Pitch | None
    chord: Pitch | None


def extract_features(audio: NDArray, rate: int) -> Features | None:
    """Extract the features of a clip (channels, samples); None for silence."""
    audio = audio.astype(np.float64)
    level = level_curve(audio, rate)
    if level is None:
        return None
    short = power_spectra(audio, SHORT_WINDOW, SHORT_WINDOW // 2)
    long = power_spectra(audio, LONG_WINDOW, LONG_WINDOW // 8)
    short_hz, long_hz = (np.fft.rfftfreq(size, 1 / rate) for size in (SHORT_WINDOW, LONG_WINDOW))
    low_hz, median_hz, high_hz = quantiles(short.sum(axis=0), short_hz)
    onsets, timbre_spread = find_onsets(audio, rate)
    pitch_range, smoothness, trend = peak_trajectory(short, short_hz)
    peaks = spectral_peaks(audio, rate)
    return Features(
        seconds=audio.shape[1] / rate,
        active_share=float((level > AUDIBLE).mean()),
        attack=attack_time(level),
        decay_rate=decay_rate(level),
        level_deviation=level_deviation(level),
        low_hz=low_hz,
        median_hz=median_hz,
        high_hz=high_hz,
        octave_levels=octave_levels(short.sum(axis=0), short_hz),
        peak_prominence=peak_prominence(long, long_hz),
        pitch_range=pitch_range,
        smoothness=smoothness,
        pitch_trend=trend,
        onsets=tuple(onsets.tolist()),
        timbre_spread=timbre_spread,
        hold_time=hold_time(level, onsets),
        onset_irregularity=onset_irregularity(onsets),
        sine=estimate_pitch(peaks, wave_partials("sine")),
        harmonic=estimate_pitch(peaks, wave_partials("sawtooth")),
        bell=_best([estimate_pitch(peaks, voice_partials(name)) for name in BELLS]),
        chord=_best([estimate_pitch(peaks, triad_partials(mode)) for mode in TRIADS]),
    )


def _best(pitches: list[Pitch | None]) -> Pitch | None:
    return max((pitch for pitch in pitches if pitch), key=lambda pitch: pitch.match, default=None)


@lru_cache
def triad_partials(mode: str) -> Partials:
    """Partials of a chord of three harmonic notes."""
    harmonics = np.arange(1.0, 9.0)
    ratios = np.concatenate([harmonics * 2 ** (step / 12) for step in TRIADS[mode]])
    return Partials(ratios, np.tile(harmonics**-1.2, 3))


# Level


def level_curve(audio: Floats, rate: int) -> Floats | None:
    """Level (frames,) of all channels at LEVEL_RATE, in dB relative to the third loudest frame, which ignores clicks.

    None for silence, and for clips shorter than one frame.
    """
    hop = rate // LEVEL_RATE
    frames = audio.shape[1] // hop
    power = (audio[:, : frames * hop] ** 2).reshape(len(audio), frames, hop).mean(axis=(0, 2))
    loudest = np.sort(power)[-3:]
    if not loudest.size or loudest[0] < 1e-9:
        return None
    return np.asarray(np.maximum(10 * np.log10(power / loudest[0] + 1e-12), MIN_LEVEL))


def attack_time(level: Floats) -> float:
    """Time from the first active frame to the first one near full level."""
    return float(np.argmax(level > -1.5) - np.argmax(level > AUDIBLE)) / LEVEL_RATE


def decay_rate(level: Floats) -> float:
    """Slope in dB per second from the peak to -35 dB, or to the end; NO_SLOPE for less than 50 ms."""
    after = level[int(np.argmax(level > -1.5)) :]
    gone = np.flatnonzero(after < -35)
    after = after[: gone[0] if gone.size else len(after)]
    if len(after) < 5:
        return NO_SLOPE
    return float(np.polyfit(np.arange(len(after)) / LEVEL_RATE, after, 1)[0])


def level_deviation(level: Floats) -> float:
    """Deviation of the active level, smoothed over 80 ms, from its linear trend."""
    places = np.flatnonzero(level > AUDIBLE)
    smooth = np.convolve(level, np.ones(8) / 8, "same")[places]
    if len(places) < 10:
        return 0.0
    return float(np.std(smooth - np.polyval(np.polyfit(places, smooth, 1), places)))


def hold_time(level: Floats, onsets: Floats) -> float:
    """Median time for which onsets stay within 6 dB of their peak."""
    times = []
    for onset in onsets:
        after = level[int(onset * LEVEL_RATE) :]
        top = after[:6].max(initial=MIN_LEVEL)
        gone = np.flatnonzero(after[6:] < top - 6)
        times.append((6 + gone[0] if gone.size else len(after)) / LEVEL_RATE)
    return float(np.median(times)) if times else 0.0


# Spectrum


def power_spectra(audio: Floats, size: int, hop: int) -> Floats:
    """Power (frames, bins) in windows of `size`, summed over channels."""
    padded = np.pad(audio, ((0, 0), (size // 2, size // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop]
    return np.asarray((np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2).sum(axis=0))


def quantiles(power: Floats, hz: Floats) -> tuple[float, float, float]:
    """Frequencies below which 10, 50 and 90 % of the power lie."""
    share = np.cumsum(power) / power.sum()
    low, center, high = (float(hz[np.searchsorted(share, part)]) for part in (0.1, 0.5, 0.9))
    return low, center, high


def octave_levels(power: Floats, hz: Floats) -> tuple[float, ...]:
    """Mean power per bin in octaves, dB relative to the greatest."""
    starts = np.searchsorted(hz, OCTAVE_EDGES)
    means = np.array([power[a : max(b, a + 1)].mean() for a, b in pairwise(starts)])
    return tuple((10 * np.log10(means / means.max() + 1e-12)).tolist())


def peak_prominence(spectra: Floats, hz: Floats) -> float:
    """Power-weighted mean of the ratio of each bin to its neighborhood."""
    part = spectra[:, (hz > 25) & (hz < 10_000)]
    width = 2 * NEIGHBORS + 1
    padded = np.pad(part, ((0, 0), (NEIGHBORS, NEIGHBORS)), mode="reflect")
    total = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1)
    around = (total[:, width:] - total[:, :-width]) / width
    return float((part * part / np.maximum(around, part / width + 1e-30)).sum() / part.sum())


def peak_trajectory(spectra: Floats, hz: Floats) -> tuple[float, float, float]:
    """Range (semitones), smoothness and correlation with time of the pitch of the strongest peak.

    Smoothness is 1 for a curve without jumps, 0 for independent frames.
    """
    inside = (hz > 60) & (hz < 10_000)
    power = spectra[:, inside]
    loud = np.flatnonzero(power.sum(axis=1) > 0.01 * power.sum(axis=1).max())
    pitch = 12 * np.log2(hz[inside][power[loud].argmax(axis=1)])
    low, high = np.percentile(pitch, (10, 90))
    if len(pitch) < 3 or np.ptp(pitch) == 0:
        return float(high - low), 1.0, 0.0
    smoothness = 1 - np.diff(pitch).var() / (2 * pitch.var())
    return float(high - low), float(smoothness), float(np.corrcoef(pitch, loud)[0, 1])


# Onsets


def find_onsets(audio: Floats, rate: int) -> tuple[Floats, float]:
    """Find times of sudden rises in any band, and the mean difference of their spectra from the average."""
    size, hop = 1024, 256
    padded = np.pad(audio.mean(axis=0), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    starts = np.searchsorted(np.fft.rfftfreq(size, 1 / rate), ONSET_EDGES)
    bands = np.pad(np.add.reduceat(power, starts, axis=1).T, ((0, 0), (4, 0)))  # (bands, frames)
    rise = np.maximum(bands[:, 4:] - 2 * np.minimum(bands[:, 1:-3], bands[:, :-4]), 0)
    strength = np.sqrt(rise).sum(axis=0)
    floor = MIN_ONSET * strength.max(initial=0.0)
    reach = 9  # frames, 50 ms
    around = np.lib.stride_tricks.sliding_window_view(np.pad(strength, reach), 2 * reach + 1).max(axis=1)
    places = np.flatnonzero((strength >= around) & (strength > floor))
    timbres = rise[:, places] / np.maximum(rise[:, places].sum(axis=0), 1e-30)
    spread = 0.5 * np.abs(timbres - timbres.mean(axis=1, keepdims=True)).sum(axis=0).mean() if places.size else 0.0
    return np.asarray(places * hop / rate), float(spread)


def onset_irregularity(onsets: Floats) -> float:
    """Deviation of the intervals between onsets over their mean; 0 for fewer than three onsets."""
    intervals = np.diff(onsets)
    return float(intervals.std() / intervals.mean()) if len(intervals) > 1 else 0.0
