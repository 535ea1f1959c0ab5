"""Check generated audio for faults: not finite, overloaded, silent, faint, static, clipped or with a DC offset."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from soundloom.errors import OutputError

FAR_OVER = 10 ** (12 / 20)  # peak; autoencoders overshoot full scale by a few dB, not 12
SILENCE_PEAK = 1e-4  # -80 dBFS
FAINT_LEVEL = 10 ** (-50 / 20)  # RMS of the loudest window
FAINT_WINDOW = 0.4  # seconds
CLIPPED_SHARE = 0.01  # of all samples; mastered music has far fewer
OFFSET, OFFSET_SECONDS = 0.05, 0.25  # mean of a channel, full scale 1; shorter clips may have a low tone instead
STATIC_LEVEL = 10 ** (-35 / 20)  # RMS; quieter noise counts as noise floor
STATIC_FLATNESS = 0.9  # white noise has 0.97 to 1, pink noise about 0.5
STATIC_STEADINESS = 1.0  # dB, standard deviation of frame levels
FRAME = 2048  # samples per analyzed frame
MAX_FRAMES = 512  # spread over the clip, to limit the cost
# Words in prompts for which noise, or silence, is expected.
NOISY = re.compile(
    r"\b(nois\w*|static|hiss\w*|white|rain\w*|downpour|drizzle|showers?|waterfalls?|applause|spray\w*|steam\w*|surf|snow|"
    r"wind|radio)\b",
    re.IGNORECASE,
)
SILENT = re.compile(r"\bsilen(t|ce|tly)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Origin:
    """How audio was generated, which decides what counts as a fault and what its cause may be."""

    prompt: str = ""
    has_source: bool = False
    is_faint_source: bool = False  # the source itself is nearly silent
    is_region: bool = False  # part of a longer clip, which may be silent
    is_guided: bool = False
    precision: str = "fp32"

    @property
    def weights(self) -> str:
        """The likely cause if the model itself is at fault."""
        return "weights that do not fit" + ("" if self.precision == "fp32" else f", or the precision {self.precision}")


@dataclass(frozen=True)
class Finding:
    """One fault, with a message that names its likely cause."""

    kind: Literal["not_finite", "overload", "silent", "faint", "static", "clipped", "offset"]
    severity: Literal["error", "warning"]
    message: str


def check_audio(audio: np.ndarray, rate: int, origin: Origin | None = None) -> list[Finding]:
    """Return the faults of generated audio, float32 (c, n)."""
    origin = origin or Origin()
    bad = audio.size - np.count_nonzero(np.isfinite(audio))
    if bad:
        return [_error("not_finite", f"{bad} of {audio.size} samples are not finite", origin.weights)]
    magnitude = np.abs(audio)
    peak = float(magnitude.max(initial=0.0))
    if peak > FAR_OVER:
        return [_error("overload", f"the peak is {_decibels(peak):.0f} dB over full scale", _causes(origin))]
    if peak < SILENCE_PEAK:
        cause = "a source that is silent" if origin.has_source else origin.weights
        asked = origin.is_region or SILENT.search(origin.prompt)
        return [] if asked else [_error("silent", "the clip is silent (peak below -80 dBFS)", cause)]
    found = [_faint(audio, rate, origin), _static(audio, rate, origin)]
    return [*filter(None, found), *_clipped(magnitude, origin), *_offset(audio, rate, origin)]


def require_usable(findings: Iterable[Finding], what: str) -> None:
    """Raise OutputError if any finding is an error; `what` names the clip in the message."""
    errors = dict.fromkeys(finding.message for finding in findings if finding.severity == "error")
    if errors:
        hint = "the clip was not saved; --keep-bad (keep_bad=True in Python) saves it anyway"
        raise OutputError(f"{what}: {'; '.join(errors)}", hint)


def _error(kind: Literal["not_finite", "overload", "silent", "faint", "static"], what: str, cause: str) -> Finding:
    return Finding(kind, "error", f"{what}; likely cause: {cause}")


def _decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def _causes(origin: Origin) -> str:
    likely = "guidance too strong" if origin.is_guided else "a prompt that the model does not know"
    return f"{likely}, or {origin.weights}"


def _faint(audio: np.ndarray, rate: int, origin: Origin) -> Finding | None:
    """Find nearly silent audio, unless the prompt asks for silence."""
    if origin.is_region or origin.is_faint_source or not origin.prompt.strip() or SILENT.search(origin.prompt):
        return None
    if (level := loudest(audio, rate)) >= FAINT_LEVEL:
        return None
    source = "a source that is too short for this prompt, " if origin.has_source else ""
    cause = f"{source}a prompt that the model does not know, or {origin.weights}"
    return _error("faint", f"the clip is nearly silent (at most {_decibels(level):.0f} dBFS)", cause)


def loudest(audio: np.ndarray, rate: int) -> float:
    """Return the highest RMS level of audio (c, n) in windows of 0.4 s."""
    window = max(1, min(audio.shape[1], round(FAINT_WINDOW * rate)))
    power = np.add.reduceat(np.mean(audio**2, axis=0), np.arange(0, audio.shape[1], window)) / window
    return float(np.sqrt(power.max()))


def _static(audio: np.ndarray, rate: int, origin: Origin) -> Finding | None:
    """Find white noise, an error unless the prompt asks for noise."""
    if NOISY.search(origin.prompt) or not _is_static(audio, rate):
        return None
    severity: Literal["error", "warning"] = "error" if origin.prompt.strip() and not origin.is_region else "warning"
    return Finding("static", severity, f"the clip sounds like static; likely cause: {_causes(origin)}")


def _clipped(magnitude: np.ndarray, origin: Origin) -> list[Finding]:
    share = np.count_nonzero(magnitude >= 1) / magnitude.size
    if share <= CLIPPED_SHARE:
        return []
    causes = ["guidance too strong"] * origin.is_guided + ["a source with clipping"] * origin.has_source
    cause = " or ".join(causes) or "a model that overshoots full scale"
    message = f"{share:.1%} of the samples are at or beyond full scale; likely cause: {cause}"
    return [Finding("clipped", "warning", message)]


def _offset(audio: np.ndarray, rate: int, origin: Origin) -> list[Finding]:
    offset = audio.mean(axis=1, dtype=np.float64)
    worst = offset[np.abs(offset).argmax()]
    if abs(worst) <= OFFSET or audio.shape[1] < OFFSET_SECONDS * rate:
        return []
    cause = "a source with an offset" if origin.has_source else "damaged decoder weights"
    message = f"the waveform has a DC offset of {worst:+.2f} of full scale; likely cause: {cause}"
    return [Finding("offset", "warning", message)]


def _is_static(audio: np.ndarray, rate: int) -> bool:
    """Whether audio is loud, white and steady throughout, unlike rain, wind and cymbals."""
    samples = audio.shape[1]
    if samples < 8 * FRAME:
        return False
    starts = np.unique(np.linspace(0, samples - FRAME, min(MAX_FRAMES, samples // FRAME)).astype(int))
    frames = audio[:, starts[:, None] + np.arange(FRAME)]  # (c, f, FRAME)
    level = np.sqrt(np.mean(frames**2, axis=(0, 2)))  # (f,)
    if level.min() < STATIC_LEVEL or np.std(20 * np.log10(level)) > STATIC_STEADINESS:
        return False
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=2)) ** 2
    lowest, highest = (int(hertz * FRAME / rate) for hertz in (100, 0.45 * rate))
    spectrum = power.mean(axis=(0, 1))[lowest:highest] + np.finfo(np.float32).tiny
    return bool(np.exp(np.log(spectrum).mean()) / spectrum.mean() > STATIC_FLATNESS)
