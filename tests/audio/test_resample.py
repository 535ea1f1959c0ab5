import numpy as np
import pytest

from soundloom.audio.resample import resample, resample_published
from soundloom.errors import AudioError

BOTH = pytest.mark.parametrize("function", [resample, resample_published])
RATES = [(44100, 48000), (48000, 44100), (8000, 44100), (96000, 44100), (32000, 44100), (44100, 44101)]


def sine(hertz, rate, samples):
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate)[None].astype(np.float32)


@BOTH
@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("samples", [1, 1000, 4411])
def test_length_is_rounded_up(function, rates, samples):
    out = function(np.ones((2, samples), np.float32), *rates)
    assert out.shape == (2, -(-samples * rates[1] // rates[0]))
    assert out.dtype == np.float32


@BOTH
@pytest.mark.parametrize("rates", RATES)
def test_a_sine_keeps_its_frequency(function, rates):
    samples = rates[0] // 4
    out = function(sine(997, rates[0], samples), *rates)
    wanted = sine(997, rates[1], out.shape[1])
    inside = slice(out.shape[1] // 4, -out.shape[1] // 4)
    tolerance = 1e-5 if function is resample else 3e-3  # the published window is short; its ripple is 3e-3
    assert np.abs(out - wanted)[:, inside].max() < tolerance


@BOTH
def test_equal_rates_change_nothing(function):
    audio = sine(100, 44100, 50)
    assert function(audio, 44100, 44100) is audio


def test_soxr_suppresses_aliasing():
    out = resample(sine(30_000, 96000, 96000), 96000, 44100)
    assert np.abs(out[:, 4000:-4000]).max() < 1e-5


def by_the_formula(audio, from_rate, to_rate):
    """Compute every output from the definition of the windowed sinc, in float64."""
    scale = min(from_rate, to_rate) * 0.99 / from_rate
    inputs = np.arange(audio.shape[1])
    out = []
    for m in range(-(-audio.shape[1] * to_rate // from_rate)):
        t = (inputs - m * from_rate / to_rate) * scale
        window = np.where(np.abs(t) < 6, np.cos(np.pi * t / 12) ** 2, 0)
        out.append(audio @ (np.sinc(t) * window * scale))
    return np.stack(out, axis=1)


@pytest.mark.parametrize("rates", [(48000, 44100), (44100, 48000), (8000, 44100), (96000, 32000)])
def test_published_resampler_follows_its_formula(rates):
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 700)).astype(np.float32)
    np.testing.assert_allclose(resample_published(audio, *rates), by_the_formula(audio, *rates), atol=2e-6)


@BOTH
@pytest.mark.parametrize("rate", [0, -1, 44100.5])
def test_rates_are_positive_integers(function, rate):
    with pytest.raises(AudioError, match="an integer from 4000"):
        function(sine(100, 44100, 50), 44100, rate)
