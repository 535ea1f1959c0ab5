"""Score edits of stems: added, removed or extracted instruments against the truth, as Instruct-MusicGen's paper does.

Codecs of tokens preserve no phase, so a signal-to-distortion ratio is low for a perfect edit too: the ceiling is that
of the truth after the codec's own round trip, and a magnitude distance is given beside it.
Source: arXiv 2405.18386, which does not state its threshold of presence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_channels
from soundloom.audio.mel import log_mel, mel_filter_bank
from soundloom.audio.resample import resample
from soundloom.evaluation.signals import ssim
from soundloom.evaluation.spectra import si_sdr

Task = Literal["add", "remove", "extract"]
SIGNAL_TASKS = ("remove", "extract")  # whose truth is determined by the input
RATE = 16000  # Hz, at which signals are compared
PRESENT = -20.0  # dB of a stem against the mixture
MEL_WINDOWS = (512, 1024, 2048)
MEL_BANDS = 80
MEL_RANGE = 80.0  # dB from the floor of `log_mel` to full scale
FLOOR = 1e-7  # power, -70 dB

Sound = NDArray[np.floating]


@dataclass(frozen=True)
class StemScores:
    """Scores of an edit of stems; ratios in dB are NaN for additions, which have more than one right result.

    They also are where the truth is silent, and the improvement where the truth is the source: nothing is finite there.

    `ceiling_si_sdr` and `ceiling_log_mel` are those of the truth after the codec's round trip.
    """

    si_sdr: float
    si_sdr_improvement: float
    log_mel: float
    ssim: float  # of log-mel spectrograms in dB, range 80
    ceiling_si_sdr: float
    ceiling_log_mel: float


def score_stems(edited: Sound, truth: Sound, source: Sound, round_trip: Sound, rate: int, task: Task) -> StemScores:
    """Score an edit (c, n) of `source` against the truth; `round_trip` is the truth after encoding and decoding."""
    edited, truth, source, round_trip = (_mono(sound, rate) for sound in (edited, truth, source, round_trip))
    nan = float("nan")
    ratio = ceiling = improvement = nan
    if task in SIGNAL_TASKS and np.any(truth):
        ratio, ceiling = si_sdr(edited, truth), si_sdr(round_trip, truth)
        if not np.array_equal(source, truth):
            improvement = ratio - si_sdr(source, truth)
    return StemScores(
        ratio,
        improvement,
        multi_resolution_log_mel(edited, truth, RATE),
        _mel_ssim(edited, truth),
        ceiling,
        multi_resolution_log_mel(round_trip, truth, RATE),
    )


def _mel_ssim(edited: Sound, truth: Sound) -> float:
    length = min(edited.shape[1], truth.shape[1])
    return ssim(log_mel(edited[:, :length], RATE), log_mel(truth[:, :length], RATE), MEL_RANGE)


def _mono(sound: Sound, rate: int) -> Sound:
    return resample(to_channels(np.asarray(sound, np.float32), 1), rate, RATE)


def multi_resolution_log_mel(generated: Sound, real: Sound, rate: int) -> float:
    """Return the mean absolute difference in dB of log-mel spectrograms, over windows of 512, 1024 and 2048 samples.

    Sounds are (c, n), of which the shorter length counts; channels are compared one by one. NaN for clips without
    samples.
    """
    length = min(generated.shape[1], real.shape[1])
    if not length:
        return float("nan")
    differences = []
    for window in MEL_WINDOWS:
        a, b = (_log_mel(sound[:, :length], window, rate) for sound in (generated, real))
        differences.append(np.abs(a - b).mean())
    return float(np.mean(differences))


def _log_mel(audio: Sound, window: int, rate: int) -> Sound:
    padded = np.pad(audio.astype(np.float64), ((0, 0), (window // 2, window // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1)[:, :: window // 4]
    weights = np.hanning(window)
    power = np.square(np.abs(np.fft.rfft(frames * weights)) / weights.sum())
    filters = mel_filter_bank(MEL_BANDS, window, rate)
    return np.asarray(10 * np.log10(np.maximum(power @ filters[filters.any(axis=1)].T, FLOOR)))


def is_present(stem: Sound, mixture: Sound, probability: float | None = None, median: float | None = None) -> bool:
    """Whether a separated stem counts as present in a mixture.

    Its level must be within 20 dB of the mixture's and, where a tagger's `probability` of the instrument is given,
    that must exceed the `median` on clips which truly have it.
    """
    level, whole = (float(np.square(sound.astype(np.float64)).mean()) for sound in (stem, mixture))
    is_loud = level > 0 and 10 * np.log10(level / max(whole, 1e-20)) >= PRESENT
    return is_loud and (probability is None or median is None or probability > median)
