"""The delay pattern: the published example and its inverse."""

import numpy as np
import pytest

from soundloom.autoregressive import delay

MONO, STEREO = (0, 1, 2, 3), (0, 0, 1, 1, 2, 2, 3, 3)
X = 2048


def test_three_frames_have_the_pattern_of_the_paper() -> None:
    tokens = np.arange(12).reshape(1, 4, 3)
    assert delay.build(tokens, MONO, X)[0].tolist() == [
        [X, 0, 1, 2, X, X, X],
        [X, X, 3, 4, 5, X, X],
        [X, X, X, 6, 7, 8, X],
        [X, X, X, X, 9, 10, 11],
    ]


@pytest.mark.parametrize("delays", [MONO, STEREO])
@pytest.mark.parametrize("frames", range(1, 9))
def test_revert_inverts_build(delays: tuple[int, ...], frames: int) -> None:
    tokens = np.random.default_rng(frames).integers(0, X, (2, len(delays), frames))
    sequence = delay.build(tokens, delays, X)
    assert sequence.shape[-1] == delay.sequence_length(frames, delays) == frames + 4
    assert (delay.revert(sequence, delays) == tokens).all()


def test_slots_without_a_frame_have_the_special_token() -> None:
    slots = delay.real_slots(5, STEREO)
    assert slots.sum() == 5 * len(STEREO)
    assert ((delay.build(np.zeros((1, 8, 5), int), STEREO, X)[0] == X) == ~slots).all()
