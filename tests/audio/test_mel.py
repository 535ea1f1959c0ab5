import numpy as np
import pytest

from soundloom.audio.mel import BANDS, log_mel

RATE = 44100


def tone(hz, amplitude=0.5, seconds=0.5):
    return np.sin(2 * np.pi * hz * np.arange(round(RATE * seconds)) / RATE)[None] * amplitude


def test_silence_is_at_the_floor():
    assert (log_mel(np.zeros((2, RATE)), RATE) == -80).all()


@pytest.mark.parametrize(("hz", "band"), [(440, 9), (4000, 34)])
def test_a_tone_is_loudest_in_its_band(hz, band):
    assert log_mel(tone(hz), RATE).shape[0] == BANDS
    # Bands are 3923 / 65 mel apart.
    assert abs(log_mel(tone(hz), RATE).mean(axis=1).argmax() - band) <= 1


def test_half_the_amplitude_is_six_decibels_less():
    loud, soft = (log_mel(tone(1000, amplitude), RATE).max() for amplitude in (0.5, 0.25))
    assert loud - soft == pytest.approx(6.02, abs=0.01)
