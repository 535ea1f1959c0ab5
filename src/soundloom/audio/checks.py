"""Look at a made clip before it is trusted: not numbers, silence, static, clipping, offset."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from soundloom.errors import OutputError

SILENCE_PEAK = 1e-4  # -80 dBFS
CLIPPED_SHARE = 0.01  # of all samples; mastered music stays far below
OFFSET = 0.05  # mean of a channel, in full scales
STATIC_LEVEL = 10 ** (-35 / 20)  # RMS; quieter noise is a noise floor
STATIC_FLATNESS = 0.9  # white noise measures 0.97 to 1, noise that falls by 3 dB per octave about 0.5
STATIC_STEADINESS = 1.0  # dB, standard deviation of the level from frame to frame
FRAME = 2048  # samples per analysed frame
MOST_FRAMES = 512  # spread over the clip, so that the cost does not grow with its length


@dataclass(frozen=True)
class Finding:
    """One fault of a clip, in words that name the likely cause."""

    kind: Literal["not_finite", "silent", "static", "clipped", "offset"]
    severity: Literal["error", "warning"]
    message: str


def check_audio(audio: np.ndarray, rate: int) -> list[Finding]:
    """What is wrong with float32 (c, n); an empty list when nothing is."""
    bad = audio.size - np.count_nonzero(np.isfinite(audio))
    if bad:
        cause = "a precision too low for this model, or damaged weights"
        message = f"{bad} of {audio.size} samples are not numbers; likely cause: {cause}"
        return [Finding("not_finite", "error", message)]
    magnitude = np.abs(audio)
    peak = magnitude.max(initial=0.0)
    if peak < SILENCE_PEAK:
        cause = "weights that do not fit, or a source that is silent"
        message = f"the clip is silent (peak below -80 dBFS); likely cause: {cause}"
        return [Finding("silent", "error", message)]
    findings = []
    if _is_static(audio, rate):
        cause = "weights that do not fit, or a wrong precision"
        findings.append(Finding("static", "warning", f"this sounds like static; likely cause: {cause}"))
    if (share := np.count_nonzero(magnitude >= 1) / audio.size) > CLIPPED_SHARE:
        cause = "guidance too strong, or a source recorded too hot"
        message = f"{share:.1%} of the samples are at or beyond full scale; likely cause: {cause}"
        findings.append(Finding("clipped", "warning", message))
    offset = audio.mean(axis=1, dtype=np.float64)
    worst = offset[np.abs(offset).argmax()]
    if abs(worst) > OFFSET:
        cause = "a source with an offset, or damaged decoder weights"
        message = f"the waveform is off centre by {worst:+.2f} of full scale; likely cause: {cause}"
        findings.append(Finding("offset", "warning", message))
    return findings


def require_sound(findings: Iterable[Finding]) -> None:
    """Raise OutputError when a finding is an error."""
    errors = [finding.message for finding in findings if finding.severity == "error"]
    if errors:
        raise OutputError("; ".join(errors), "run `soundloom doctor`, and try full precision")


def _is_static(audio: np.ndarray, rate: int) -> bool:
    """Loud, white and steady from beginning to end; rain, wind and cymbals are coloured or move."""
    samples = audio.shape[1]
    if samples < 8 * FRAME:
        return False
    starts = np.unique(np.linspace(0, samples - FRAME, min(MOST_FRAMES, samples // FRAME)).astype(int))
    frames = audio[:, starts[:, None] + np.arange(FRAME)]  # (c, f, FRAME)
    level = np.sqrt(np.mean(frames**2, axis=(0, 2)))  # (f,)
    if level.min() < STATIC_LEVEL or np.std(20 * np.log10(level)) > STATIC_STEADINESS:
        return False
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=2)) ** 2
    lowest, highest = (int(hertz * FRAME / rate) for hertz in (100, 0.45 * rate))
    spectrum = power.mean(axis=(0, 1))[lowest:highest] + np.finfo(np.float32).tiny
    return bool(np.exp(np.log(spectrum).mean()) / spectrum.mean() > STATIC_FLATNESS)
