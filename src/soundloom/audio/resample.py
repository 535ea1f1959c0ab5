"""Change the sample rate: with soxr at its best, or as the published models' preparation does."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain

import numpy as np

from soundloom.audio.formats.limits import HIGHEST_RATE, LOWEST_RATE
from soundloom.errors import AudioError, shown

ZERO_CROSSINGS = 6  # of the published sinc, on each side; torchaudio calls it lowpass_filter_width
ROLLOFF = 0.99  # cutoff as a fraction of the lower Nyquist frequency


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """ceil(samples * to_rate / from_rate): each input sample stays covered by output."""
    return -(-samples * to_rate // from_rate)


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample float32 (c, n) with soxr VHQ to (c, resampled_length(n)); equal rates give the input back."""
    _require_rates(from_rate, to_rate)
    if from_rate == to_rate:
        return audio
    import soxr

    length = resampled_length(audio.shape[1], from_rate, to_rate)
    # soxr may end some samples early; silence behind the input lets the real last ones come out.
    padding = 2 * -(-from_rate // to_rate)
    padded = np.pad(audio.T.astype(np.float32, copy=False), ((0, padding), (0, 0)))
    return np.ascontiguousarray(soxr.resample(padded, from_rate, to_rate, quality="VHQ")[:length].T)


def resample_blocks(
    blocks: Iterable[np.ndarray], channels: int, samples: int, from_rate: int, to_rate: int
) -> Iterator[np.ndarray]:
    """Yield bit for bit what `resample` makes of a sound, whose `samples` come in blocks (channels, n)."""
    _require_rates(from_rate, to_rate)
    import soxr

    stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="VHQ")
    left = resampled_length(samples, from_rate, to_rate)
    silence = np.zeros((channels, 2 * -(-from_rate // to_rate)), np.float32)  # as in `resample`
    for block in chain(blocks, [silence]):
        made = stream.resample_chunk(np.ascontiguousarray(block.T, dtype=np.float32), last=block is silence)
        yield made[: max(left, 0)].T
        left -= len(made)


def resample_published(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample float32 (c, n) as the published models' preparation does, to (c, resampled_length(n)).

    A Hann-windowed sinc with six zero crossings a side and rolloff 0.99, in float32: the defaults of
    torchaudio's functional.resample. It lets some aliasing through, which `resample` does not.
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
    """Taps (phases, k) for the outputs of one period of `step` inputs, each phase's first input, and the
    reach.

    Output `phase` lies at input position `phase * step / phases`; its taps begin `reach` inputs before.
    """
    base = min(step, phases) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * step / base)
    positions = np.arange(phases) * step / phases
    starts = np.floor(positions).astype(int)
    offsets = starts[:, None] + np.arange(-reach, reach + 2) - positions[:, None]  # from output to inputs
    t = np.clip(offsets * base / step, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    taps = np.sinc(t) * np.cos(t * np.pi / ZERO_CROSSINGS / 2) ** 2 * base / step
    return taps.astype(np.float32), starts, reach


def require_rate(rate: float, name: str = "the sound") -> None:
    """Raise AudioError for a sample rate that is no rate of sound; `name` says whose it is."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE or rate != int(rate):
        raise AudioError(
            f"{name} has a sample rate of {shown(rate)} Hz; rates are integers from {LOWEST_RATE} to {HIGHEST_RATE}",
            "44100 is usual",
        )


def _require_rates(from_rate: int, to_rate: int) -> None:
    require_rate(from_rate)
    require_rate(to_rate, "the result")
