from itertools import pairwise

import numpy as np
import pytest

from soundloom.errors import RequestError
from soundloom.pipeline.musicgen.windows import Joined, plan_windows, quietest


@pytest.mark.parametrize("frames", [1, 29, 249, 250, 251, 450, 451, 1850, 5000])
def test_windows_cover_every_frame_and_overlap(frames):
    windows = plan_windows(frames, 250, 500, overlap=0.2)
    assert (windows[0].start, windows[0].known, windows[-1].stop) == (0, 0, frames)
    assert all(window.stop - window.start == min(250, frames) for window in windows)
    for before, after in pairwise(windows):
        assert after.start > before.start
        assert after.known == before.stop - after.start >= 50
        assert after.known < after.stop - after.start


@pytest.mark.parametrize("size", [0, 1, 501])
def test_windows_beyond_the_limits_are_rejected(size):
    with pytest.raises(RequestError, match="2 to 500 frames"):
        plan_windows(1000, size, 500, overlap=0.2)


def test_the_quietest_place_is_found():
    a, b = np.ones((1, 100)), np.ones((1, 100))
    a[:, 40:52] = b[:, 44:60] = 0
    assert 44 <= quietest(a, b, 8) <= 44 + 8


def test_pieces_are_joined_without_a_step_and_trimmed():
    joined = Joined(1, 950, rate=1000)
    loud, soft = np.full((1, 500), 0.5, np.float32), np.full((1, 500), -0.5, np.float32)
    loud[:, 440:470] = soft[:, 40:70] = 0
    joined.add(0, loud)
    joined.add(400, soft)
    joined.add(800, loud)
    assert joined.filled == joined.audio.shape[1] == 950
    assert np.array_equal(joined.audio[:, :440], loud[:, :440])
    assert np.array_equal(joined.audio[:, 470:800], soft[:, 70:400])
    assert np.abs(np.diff(joined.audio[0, 440:470])).max() < 0.06
    assert np.isclose(joined.audio[0, -1], 0.5)


def test_equal_overlaps_leave_no_trace():
    sound = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    joined = Joined(2, 1000, rate=1000)
    for start in (0, 300, 600):
        joined.add(start, sound[:, start : start + 400])
    assert np.allclose(joined.audio, sound, atol=1e-6)


def test_an_overlap_shorter_than_the_crossfade_is_used_completely():
    joined = Joined(1, 20, rate=1000)
    joined.add(0, np.zeros((1, 12), np.float32))
    joined.add(10, np.ones((1, 10), np.float32))
    assert np.allclose(joined.audio[0, 9:13], [0, 0.25, 0.75, 1])
