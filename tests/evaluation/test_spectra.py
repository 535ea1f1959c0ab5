import numpy as np
import pytest

from soundloom.audio.mel import log_mel_difference
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.evaluation.spectra import buzz, level_difference, loudness_step, si_sdr, spectral_convergence

TIMES = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
TONE = 0.5 * np.sin(2 * np.pi * 440 * TIMES)[None].repeat(2, axis=0)
NOISE = np.random.default_rng(0).normal(0, 0.1, (2, TIMES.size))


def test_log_mel_difference_of_a_gain_is_the_gain():
    assert log_mel_difference(NOISE, NOISE, SAMPLE_RATE) == 0
    assert log_mel_difference(NOISE * 10 ** (-3 / 20), NOISE, SAMPLE_RATE) == pytest.approx(3, abs=0.01)


def test_spectral_convergence_ignores_faint_hiss_and_log_mel_difference_does_not():
    """Hiss 40 dB below a tone is above -60 dBFS in most bands; a tone a fourth higher is a different sound."""
    hissing, other = TONE + 0.03 * NOISE, 0.5 * np.sin(2 * np.pi * 587 * TIMES)[None].repeat(2, axis=0)
    assert log_mel_difference(hissing, TONE, SAMPLE_RATE) < 5
    assert spectral_convergence(hissing, TONE, SAMPLE_RATE) < 0.02
    assert spectral_convergence(other, TONE, SAMPLE_RATE) > 1
    assert spectral_convergence(0.01 * TONE, TONE, SAMPLE_RATE) == pytest.approx(0.99, abs=0.005)


def test_log_mel_difference_to_silence_is_nan():
    assert np.isnan(log_mel_difference(TONE, 1e-4 * TONE, SAMPLE_RATE))


def test_si_sdr_of_silence_is_no_warning():
    assert si_sdr(0 * TONE, 0 * TONE) == 0


def test_si_sdr_ignores_gain_and_measures_noise():
    assert si_sdr(0.3 * TONE, TONE) > 100
    noisy = TONE + NOISE * np.sqrt((TONE**2).sum() / (NOISE**2).sum()) * 10 ** (-12 / 20)
    assert si_sdr(noisy, TONE) == pytest.approx(12, abs=0.2)


def test_buzz_is_found_only_at_its_rate():
    rate = 21.533
    buzzing = NOISE * (1 + 0.3 * np.sin(2 * np.pi * rate * TIMES))
    found = buzz([buzzing], [NOISE], SAMPLE_RATE, rate)
    assert found > 10
    assert buzz([NOISE * 0.5], [NOISE], SAMPLE_RATE, rate) == pytest.approx(0, abs=0.01)
    assert buzz([buzzing], [NOISE], SAMPLE_RATE, 37.0) < found - 5


def test_loudness_step_compares_a_region_with_both_sides():
    louder = NOISE.copy()
    louder[:, SAMPLE_RATE // 2 : SAMPLE_RATE] *= 10 ** (6 / 20)
    assert loudness_step(louder, SAMPLE_RATE, (0.5, 1.0)) == pytest.approx(6, abs=0.3)
    assert loudness_step(NOISE, SAMPLE_RATE, (0.5, 1.0)) == pytest.approx(0, abs=0.3)
    louder[:, SAMPLE_RATE // 2 : SAMPLE_RATE] = 0
    assert loudness_step(louder, SAMPLE_RATE, (0.5, 1.0)) < -40


@pytest.mark.parametrize(("pan", "sign"), [(-0.5, -1), (1.0, 1)])
def test_level_difference_has_the_sign_of_the_pan(pan, sign):
    audio = render(Labels("rain", "steady", pan=pan), 1.0, np.random.default_rng(0))
    assert sign * level_difference(audio) > 5
