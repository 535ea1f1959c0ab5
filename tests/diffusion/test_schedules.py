import numpy as np
import pytest

from soundloom.config.stable_audio.model import DEFAULT_SAMPLING_SHIFT, ShiftConfig
from soundloom.diffusion.schedules import schedule

# Computed by hand from the published formulas; see the module for their sources.
KNOWN = {
    "default": (DEFAULT_SAMPLING_SHIFT, 300, [1, 0.984480202, 0.890903175, 0.512497365, 0]),
    "flux": (ShiftConfig("flux", alpha_min=1, alpha_max=4), 1024, [1, 0.857142866, 0.666666687, 0.4, 0]),
    "logsnr": (ShiftConfig("logsnr"), 1292, [1, 0.975330412, 0.85628891, 0.473126262, 0]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_four_steps_of_each_shift_have_the_published_times(name):
    shift, length, wanted = KNOWN[name]
    np.testing.assert_allclose(schedule(4, shift=shift, lengths=length), wanted, atol=2e-7)


@pytest.mark.parametrize("kind", ["none", "flux", "full", "logsnr"])
@pytest.mark.parametrize("level", [1.0, 0.6, 0.05])
def test_times_fall_from_the_level_to_zero(kind, level):
    times = schedule(8, level=level, shift=ShiftConfig(kind, alpha_max=3), lengths=700)
    assert times[0] == level
    assert times[-1] == 0
    assert (np.diff(times) < 0).all()


def test_the_published_variation_schedule_exceeds_its_level():
    times = schedule(8, level=0.9, shift=DEFAULT_SAMPLING_SHIFT, start="published")
    np.testing.assert_allclose(times[:3], [0.9, 0.988541484, 0.97166729], atol=2e-7)


def test_each_item_gets_the_row_of_its_own_length():
    shift, lengths = ShiftConfig("full"), [300, 1292, 4096]
    rows = schedule(5, shift=shift, lengths=lengths)
    assert rows.shape == (3, 6)
    for row, length in zip(rows, lengths, strict=True):
        np.testing.assert_array_equal(row, schedule(5, shift=shift, lengths=length))


def test_as_many_lengths_as_points_give_a_row_each():
    assert schedule(2, shift=ShiftConfig("full"), lengths=[300, 600, 900]).shape == (3, 3)
