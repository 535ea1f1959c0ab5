import numpy as np
import pytest

from soundloom.audio.channels import to_channels, to_stereo
from soundloom.errors import AudioError

FOUR = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_mono_is_duplicated():
    stereo, note = to_stereo(FOUR[:1])
    np.testing.assert_array_equal(stereo, FOUR[[0, 0]])
    assert note is None


def test_stereo_stays():
    stereo, note = to_stereo(FOUR[:2])
    np.testing.assert_array_equal(stereo, FOUR[:2])
    assert note is None


def test_further_channels_are_dropped_with_a_warning():
    stereo, note = to_stereo(FOUR)
    np.testing.assert_array_equal(stereo, FOUR[:2])
    assert "4 channels" in note


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [(4, 4, FOUR), (2, 1, FOUR[:2].mean(0, keepdims=True)), (1, 3, FOUR[[0, 0, 0]]), (4, 3, FOUR[:3])],
)
def test_other_numbers_of_channels(have, want, expected):
    np.testing.assert_array_equal(to_channels(FOUR[:have], want), expected)


def test_channels_cannot_be_added_to_several():
    with pytest.raises(AudioError, match="cannot convert 2 channels to 6"):
        to_channels(FOUR[:2], 6)
