"""Figures of decoded clips: each hears the fault that it is for."""

import math

import numpy as np
import pytest

from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.evaluation.codec.figures import codec_figures, latent_lines
from soundloom.evaluation.spectra import envelope_harmonics

RATE = SAMPLE_RATE


@pytest.fixture(scope="module")
def loop():
    """A drum loop, with a second one on its side."""
    left, right = (
        render(Labels("drum loop", style, bpm=120, material="electronic", pan=pan), 2.0, np.random.default_rng(0))
        for style, pan in (("house", -0.5), ("funk", 0.5))
    )
    return (0.5 * (left + right)).astype(np.float32)


def lowpass(audio, hz):
    spectrum = np.fft.rfft(audio, axis=1)
    spectrum[:, np.fft.rfftfreq(audio.shape[1], 1 / RATE) > hz] = 0
    return np.fft.irfft(spectrum, audio.shape[1], axis=1)


def test_an_exact_copy_has_no_differences(loop):
    found = codec_figures(loop, loop, RATE)
    assert found["log_mel"] == found["loudness_shift"] == found["treble"] == found["missing_samples"] == 0
    assert found["transients"] == pytest.approx(1)
    assert math.isnan(found["snr"]) and math.isnan(found["si_sdr"])  # infinite


def test_a_gain_shifts_the_loudness_and_is_no_distortion(loop):
    found = codec_figures(loop * 10 ** (-3 / 20), loop, RATE)
    assert found["loudness_shift"] == pytest.approx(-3, abs=0.01)
    assert found["log_mel"] == pytest.approx(3, abs=0.1)
    assert not found["si_sdr"] < 60  # limited by rounding, or infinite


def test_noise_has_its_ratio(loop):
    noise = np.random.default_rng(1).normal(size=loop.shape)
    noise *= np.sqrt((loop.astype(float) ** 2).sum() / (noise**2).sum()) * 10 ** (-20 / 20)
    found = codec_figures(loop + noise, loop, RATE)
    assert found["snr"] == pytest.approx(20, abs=0.01)
    assert found["si_sdr"] == pytest.approx(20, abs=0.1)


def test_a_low_pass_loses_treble(loop):
    assert codec_figures(lowpass(loop, 9000), loop, RATE)["treble"] < -20
    assert codec_figures(lowpass(loop, 15_000), loop, RATE)["treble"] > -6
    assert codec_figures(loop, lowpass(loop, 8000), RATE)["treble"] > 20  # and where there was none, it is added
    assert math.isnan(codec_figures(loop, loop, 16000)["treble"])


def test_smeared_onsets_are_weaker(loop):
    width = round(0.08 * RATE)
    kernel = np.hanning(width) / np.hanning(width).sum()
    carrier = np.random.default_rng(2).normal(size=loop.shape)
    level = np.array([np.convolve(np.abs(channel), kernel, "same") for channel in loop])
    assert codec_figures(level * carrier, loop, RATE)["transients"] < 0.8


def test_swapped_channels_and_a_wrong_sign_are_found(loop):
    swapped = codec_figures(loop[::-1], loop, RATE)
    assert swapped["side_snr"] == pytest.approx(-6.02, abs=0.01)
    assert swapped["si_sdr"] < 10 and swapped["mid_log_mel"] == 0
    assert codec_figures(-loop, loop, RATE)["snr"] == pytest.approx(-6.02, abs=0.01)


def test_a_lost_side_is_found(loop):
    mono = loop.mean(axis=0, keepdims=True).repeat(2, axis=0)
    found = codec_figures(mono, loop, RATE)
    assert found["side_snr"] == pytest.approx(0, abs=0.01) and found["side_log_mel"] > 10
    assert found["mid_log_mel"] < 1e-3 and found["side_energy"] < -20
    assert codec_figures(loop, mono, RATE)["side_energy"] > 20  # a side that mono did not have


def test_a_cut_is_counted_in_samples(loop):
    assert codec_figures(loop[:, : -round(0.3 * RATE)], loop, RATE)["missing_samples"] == 13230


def test_lines_at_the_latent_rate(loop):
    latent_rate = 21.533
    buzzing = loop * (1 + 0.5 * np.sin(2 * np.pi * latent_rate * np.arange(loop.shape[1]) / RATE))
    real, decoded = (envelope_harmonics(audio, RATE, latent_rate) for audio in (loop, buzzing))
    excess, (low, high) = latent_lines([decoded] * 3, [real] * 3)
    assert excess > 3 and low == pytest.approx(excess) == high
    assert latent_lines([real, decoded], [real, decoded])[0] == 0
    faint = np.full(8, 1e-9)
    assert latent_lines([faint], [0 * faint])[0] < 0.01  # modulation by 0.003 % is no line


@pytest.mark.parametrize(("rate", "seconds"), [(8000, 0.3), (44100, 0.06), (48000, 1.0)])
def test_short_mono_clips_at_any_rate(rate, seconds):
    audio = np.random.default_rng(0).normal(0, 0.1, (1, round(rate * seconds)))
    found = codec_figures(0.9 * audio, audio, rate)
    assert found["log_mel"] == pytest.approx(0.92, abs=0.05)
    assert "side_snr" not in found
    assert math.isnan(codec_figures(audio, 0 * audio, rate)["transients"])
    assert math.isnan(codec_figures(0 * audio, audio, rate)["loudness_shift"])
