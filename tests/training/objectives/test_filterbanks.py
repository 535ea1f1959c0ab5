"""Filter banks of the training losses."""

import numpy as np
import pytest

from soundloom.audio.mel import mel_filter_bank
from soundloom.training.objectives.spectral.filterbanks import chroma_bank, k_weighting

RATE, WINDOW = 44100, 8192


def bin_of(hertz: float) -> int:
    return round(hertz * WINDOW / RATE)


def test_mel_triangles_sum_to_one():
    total = mel_filter_bank(32, WINDOW, RATE).sum(0)
    np.testing.assert_allclose(total[bin_of(200) : bin_of(19_000)], 1, atol=1e-9)


def test_mel_band_peaks_at_its_center():
    bank = mel_filter_bank(32, WINDOW, RATE)
    top = 2595 * np.log10(1 + 22050 / 700)
    center = 700 * (10 ** (top * 11 / 33 / 2595) - 1)
    assert bank[10].argmax() == bin_of(center)


@pytest.mark.parametrize(("pitch_class", "hertz"), [(0, 261.626), (9, 440.0), (9, 880.0), (6, 739.989)])
def test_pitch_class_has_the_same_row_in_every_octave(pitch_class, hertz):
    bank = chroma_bank(128, WINDOW, RATE, octave=5, width=1.5)
    row = bank[:, bin_of(hertz)].argmax()
    expected = (128 * (pitch_class + 3) / 12 - 30) % 128
    coarse = 128 * np.log2((bin_of(hertz) + 0.5) / bin_of(hertz))  # half a bin of the transform, in rows
    assert abs((row - expected + 64) % 128 - 64) <= coarse + 1


def test_chroma_weights_sum_to_the_octave_weight():
    bank = chroma_bank(128, WINDOW, RATE, octave=5, width=1.5)
    for octaves in (0, 1, 3):
        total = bank[:, bin_of(880 * 2.0**octaves)].sum()
        assert total == pytest.approx(np.exp(-0.5 * (octaves / 1.5) ** 2), rel=0.01)


def test_k_weighting_is_flat_at_one_kilohertz_and_raises_the_treble_by_four_decibels():
    taps = k_weighting(RATE)
    gain = 20 * np.log10(np.abs(np.fft.rfft(taps, 1 << 16)))
    at = {hertz: gain[round(hertz * (1 << 16) / RATE)] for hertz in (20, 1000, 10_000)}
    assert at[1000] == pytest.approx(0, abs=0.01)
    shelf = 4.0 - at_one_kilohertz()
    assert at[10_000] == pytest.approx(shelf, abs=0.1)
    assert at[20] < -1.5  # less than the analog -26 dB: 257 taps do not resolve it
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-12)


def at_one_kilohertz() -> float:
    """Gain of the shelf at 1 kHz in dB, from its textbook form."""
    a, s = 10 ** (4 / 40), 1j * 1000 / 1681.974
    tilt = np.sqrt(a) / 1.69 * s
    return 20 * np.log10(abs(a * (a * s**2 + tilt + 1) / (s**2 + tilt + a)))
