"""Where and how loud a sound is: reverb, stereo position, fades, level."""

from functools import lru_cache

import numpy as np

from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.sounds.signals import (
    FloatArray,
    convolve,
    decay,
    noise,
    samples,
    slope,
    smooth_edges,
)

REVERBS = {"room": (0.35, 0.35), "hall": (1.6, 0.5)}  # seconds to -60 dB, wet RMS relative to the dry sound
CUT_SECONDS = 0.005  # a clip that ends in mid-sound ends without a click
WIDE_PAN = 0.2  # from here on a position is called left or right


def place(dry: FloatArray, labels: Labels) -> FloatArray:
    """Give a source (n,) or (2, n) the place, reverb, fades and peak of its labels, (2, n)."""
    stereo = np.array(np.broadcast_to(dry, (2, dry.shape[-1])), np.float32)
    if labels.reverb:
        stereo += convolve(stereo, _impulse_response(labels.reverb))
    stereo *= _pan_gains(labels, stereo.shape[-1])
    smooth_edges(stereo, labels.fade_in, max(labels.fade_out, CUT_SECONDS))
    return set_peak(stereo, labels.level)


def set_peak(sound: FloatArray, level: float) -> FloatArray:
    """Scale to a peak in dBFS; exact silence stays silence."""
    peak = float(np.abs(sound).max())
    return sound * np.float32(10 ** (level / 20) / peak) if peak else sound


def _pan_gains(labels: Labels, n: int) -> FloatArray:
    """Constant-power gains of left and right, (2, 1), or (2, n) for a sound that moves."""
    pan = np.array([labels.pan]) if labels.pan_to is None else np.linspace(labels.pan, labels.pan_to, n)
    angle = (pan + 1) * np.pi / 4
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


@lru_cache
def _impulse_response(name: str) -> FloatArray:
    """Decaying pink noise, different in each channel, (2, n)."""
    seconds, wet = REVERBS[name]
    n = samples(seconds)
    rng = np.random.Generator(np.random.Philox(n))  # each room is one fixed place
    tail = noise(n, rng, slope(0.5, 150, 8000)) * decay(n, seconds)
    tail = smooth_edges(tail, 0.01, 0.01)
    return (tail * (wet / np.sqrt(np.sum(tail[0] ** 2)))).astype(np.float32)
