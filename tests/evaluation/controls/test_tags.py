"""Instruments and voices by the tags of a classifier."""

import numpy as np
import pytest

from soundloom.errors import RequestError
from soundloom.evaluation.controls.tags import score_tag, tag_probabilities, vocal_share

LABELS = ("guitar", "drums", "Female Vocal", "piano")
LOGITS = np.array([[2.0, -1.0, -3.0, 0.0], [2.0, 1.0, 3.0, 0.0]])


def test_probabilities_are_means_over_windows_and_do_not_overflow():
    assert tag_probabilities(LOGITS)[3] == 0.5
    assert tag_probabilities(LOGITS)[1] == pytest.approx(0.5)
    assert tag_probabilities(np.array([[1e9, -1e9]])).tolist() == [1, 0]


def test_the_rank_of_a_tag():
    score = score_tag(LOGITS, LABELS, "Guitar")
    assert (score.rank, score.top[0]) == (1, "guitar") and score.is_in_top(1)
    assert not score_tag(LOGITS, LABELS, "drums").is_in_top(1)
    with pytest.raises(RequestError, match="has no tag 'flute'"):
        score_tag(LOGITS, LABELS, "flute")


def test_voices_are_counted_by_windows():
    assert vocal_share(LOGITS, LABELS) == 0.5
    assert vocal_share(LOGITS[:1], LABELS) == 0
    assert np.isnan(vocal_share(LOGITS[:, :2], LABELS[:2]))
