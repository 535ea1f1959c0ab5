import numpy as np
import pytest

from soundloom.evaluation.signals import psnr, si_sdr, snr, ssim


def images(shape):
    rng = np.random.Generator(np.random.Philox(key=1))
    first = rng.random(shape)
    return first, np.clip(first + 0.2 * rng.standard_normal(shape), 0, 1)


@pytest.mark.parametrize(
    ("shape", "data_range", "value"),
    [((40, 64), 1.0, 0.8243964192119404), ((7, 9), 80.0, 0.9947416797556764), ((64, 313), 1.0, 0.8254043362709859)],
)
def test_structural_similarity_equals_that_of_scikit_image(shape, data_range, value):
    """Values of scikit-image 0.26.0, `structural_similarity` with its defaults."""
    first, second = images(shape)
    assert ssim(first, second, data_range) == pytest.approx(value, rel=1e-12)
    assert ssim(first, first, data_range) == 1


def test_structural_similarity_needs_a_whole_window():
    assert np.isnan(ssim(np.zeros((6, 20)), np.zeros((6, 20))))


def test_ratios_of_equal_silent_and_scaled_signals():
    rng = np.random.Generator(np.random.Philox(key=2))
    signal = rng.standard_normal((2, 1000))
    assert (snr(signal, signal), psnr(signal, signal)) == (np.inf, np.inf)
    assert snr(np.zeros_like(signal), signal) == 0
    assert snr(signal, np.zeros_like(signal)) == -np.inf
    noisy = signal + 0.1 * rng.standard_normal(signal.shape)
    assert snr(noisy, signal) == pytest.approx(20, abs=0.5)
    np.testing.assert_allclose(si_sdr(7 * noisy, signal), si_sdr(noisy, signal), rtol=1e-9)
    assert psnr(noisy, signal, "range") > psnr(noisy, signal, "magnitude") > psnr(noisy, signal)
