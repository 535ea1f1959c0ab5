"""Resample with soxr at its highest quality, or as the published models do."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain

import numpy as np

from soundloom.audio.formats.limits import MAX_RATE, MIN_RATE
from soundloom.errors import AudioError, shown

ZERO_CROSSINGS = 6  # of the published sinc, per side; lowpass_filter_width in torchaudio
LOOP_PADDING = 8192  # samples, more than the filter of soxr reaches at any usual rates
ROLLOFF = 0.99  # cutoff as a fraction of the lower Nyquist frequency


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Return ceil(samples * to_rate / from_rate), so that the output covers every input sample."""
    return -(-samples * to_rate // from_rate)


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample float32 (c, n) with soxr VHQ to (c, resampled_length(n)); return the input for equal rates."""
    _require_rates(from_rate, to_rate)
    if from_rate == to_rate:
        return audio
    import soxr

    length = resampled_length(audio.shape[1], from_rate, to_rate)
    # soxr may end some samples early, so pad the input with silence.
    padding = 2 * -(-from_rate // to_rate)
    padded = np.pad(audio.T.astype(np.float32, copy=False), ((0, padding), (0, 0)))
    return np.ascontiguousarray(soxr.resample(padded, from_rate, to_rate, quality="VHQ")[:length].T)


def resample_loop(audio: np.ndarray, from_rate: int, to_rate: int, length: int | None = None) -> np.ndarray:
    """Resample a loop (c, n) so that it still repeats without a break, to (c, length).

    The default length is `round(n * to_rate / from_rate)`. A rounded length stretches the loop by less than a sample,
    where a fraction of one would be lost at every repetition.
    """
    _require_rates(from_rate, to_rate)
    import soxr

    samples = audio.shape[1]
    if length is None:
        length = max(1, round(samples * to_rate / from_rate))
    around = np.pad(audio.T.astype(np.float32, copy=False), ((LOOP_PADDING, LOOP_PADDING), (0, 0)), mode="wrap")
    resampled = soxr.resample(around, samples, length, quality="VHQ")
    start = LOOP_PADDING * length // samples
    return np.ascontiguousarray(resampled[start : start + length].T)


def resample_blocks(
    blocks: Iterable[np.ndarray], channels: int, samples: int, from_rate: int, to_rate: int
) -> Iterator[np.ndarray]:
    """Yield resampled blocks, bit-identical to `resample`, of audio with `samples` in blocks (channels, n)."""
    _require_rates(from_rate, to_rate)
    import soxr

    stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="VHQ")
    left = resampled_length(samples, from_rate, to_rate)
    silence = np.zeros((channels, 2 * -(-from_rate // to_rate)), np.float32)  # as in `resample`
    for block in chain(blocks, [silence]):
        output = stream.resample_chunk(np.ascontiguousarray(block.T, dtype=np.float32), last=block is silence)
        yield output[: max(left, 0)].T
        left -= len(output)


def resample_published(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample float32 (c, n) as the published models do, to (c, resampled_length(n)).

    A Hann-windowed sinc with six zero crossings per side and rolloff 0.99, in float32: the defaults of torchaudio's
    functional.resample. Unlike `resample`, it has some aliasing.
    """
    _require_rates(from_rate, to_rate)
    if from_rate == to_rate:
        return audio
    common = math.gcd(from_rate, to_rate)
    step, phases = from_rate // common, to_rate // common
    taps, starts, reach = _published_taps(step, phases)
    length = resampled_length(audio.shape[1], from_rate, to_rate)
    frames = -(-length // phases)
    padded = np.pad(audio.astype(np.float32, copy=False), ((0, 0), (reach, reach + step + taps.shape[1])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps.shape[1], axis=1)  # (c, n', k)
    out = np.empty((audio.shape[0], frames, phases), np.float32)
    for phase, start in enumerate(starts):
        out[:, :, phase] = windows[:, start::step][:, :frames] @ taps[phase]
    return out.reshape(audio.shape[0], -1)[:, :length]


@lru_cache(maxsize=8)
def _published_taps(step: int, phases: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return taps (phases, k) for one period of `step` inputs, the first input of each phase, and the reach.

    Output `phase` is at input position `phase * step / phases`; its taps start `reach` inputs earlier.
    """
    base = min(step, phases) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * step / base)
    positions = np.arange(phases) * step / phases
    starts = np.floor(positions).astype(int)
    offsets = starts[:, None] + np.arange(-reach, reach + 2) - positions[:, None]  # from output to inputs
    t = np.clip(offsets * base / step, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    taps = np.sinc(t) * np.cos(t * np.pi / ZERO_CROSSINGS / 2) ** 2 * base / step
    return taps.astype(np.float32), starts, reach


def require_rate(rate: float, name: str = "the audio") -> None:
    """Raise AudioError for a sample rate out of range; `name` is its owner in the message."""
    if not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise AudioError(
            f"{name} has a sample rate of {shown(rate)} Hz; it must be an integer from {MIN_RATE} to {MAX_RATE}",
            "use a common rate such as 44100",
        )


def _require_rates(from_rate: int, to_rate: int) -> None:
    require_rate(from_rate)
    require_rate(to_rate, "the result")
