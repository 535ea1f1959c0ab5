"""Apply reverb, pan, fades and level to a sound."""

from functools import lru_cache

import numpy as np

from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.sounds.signals import FloatArray, convolve, decay, noise, samples, slope, smooth_edges

REVERBS = {"room": (0.35, 0.35), "hall": (1.6, 0.5)}  # seconds to -60 dB, wet RMS relative to the dry sound
MIN_FADE_OUT = 0.005  # seconds, against clicks at the end
WIDE_PAN = 0.2  # from here on captions say left or right


def place(dry: FloatArray, labels: Labels) -> FloatArray:
    """Apply the reverb, pan, fades and peak of labels to a source (n,) or (2, n); returns (2, n)."""
    stereo = np.array(np.broadcast_to(dry, (2, dry.shape[-1])), np.float32)
    if labels.reverb:
        stereo += convolve(stereo, _impulse_response(labels.reverb))
    stereo *= _pan_gains(labels, stereo.shape[-1])
    smooth_edges(stereo, labels.fade_in, max(labels.fade_out, MIN_FADE_OUT))
    return set_peak(stereo, labels.level)


def set_peak(sound: FloatArray, level: float) -> FloatArray:
    """Scale to a peak in dBFS; silence stays silence."""
    peak = float(np.abs(sound).max())
    return sound * np.float32(10 ** (level / 20) / peak) if peak else sound


def _pan_gains(labels: Labels, n: int) -> FloatArray:
    """Constant-power gains of left and right, (2, 1), or (2, n) for a moving sound."""
    pan = np.array([labels.pan]) if labels.pan_to is None else np.linspace(labels.pan, labels.pan_to, n)
    angle = (pan + 1) * np.pi / 4
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


@lru_cache
def _impulse_response(name: str) -> FloatArray:
    """Decaying pink noise, different in each channel, (2, n)."""
    seconds, wet = REVERBS[name]
    n = samples(seconds)
    rng = np.random.Generator(np.random.Philox(n))  # each reverb is a fixed impulse response
    tail = noise(n, rng, slope(0.5, 150, 8000)) * decay(n, seconds)
    tail = smooth_edges(tail, 0.01, 0.01)
    return (tail * (wet / np.sqrt(np.sum(tail[0] ** 2)))).astype(np.float32)
