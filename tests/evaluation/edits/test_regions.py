from __future__ import annotations

import numpy as np
import pytest

from soundloom.evaluation.edits.regions import context_score, context_spans, overlaps, region_windows


def test_windows_belong_to_a_region_that_fills_half_of_them():
    starts = np.array([0, 10, 14, 15, 16, 35, 36])
    assert overlaps(starts, 10, (20, 40)).tolist() == [False, False, False, True, True, True, False]


@pytest.mark.parametrize(
    ("samples", "window", "region", "expected"),
    [
        (100, 20, (30, 70), [(30, 50), (40, 60), (50, 70)]),
        (100, 20, (30, 75), [(32, 52), (42, 62), (52, 72)]),
        (100, 20, (40, 44), [(38, 46)]),
        (100, 20, (40, 55), [(37, 57)]),
        (100, 20, (90, 100), [(80, 100)]),
        (100, 20, (0, 4), [(0, 8)]),
        (6, 20, (2, 5), [(0, 6)]),
        (100, 20, (50, 50), []),
    ],
)
def test_windows_are_placed_on_a_region(samples, window, region, expected):
    found = region_windows(samples, window, region)
    assert found == expected
    for start, end in found:
        assert 2 * (min(end, region[1]) - max(start, region[0])) >= end - start


def test_the_context_ends_at_the_clip():
    assert context_spans(1000, 100, (600, 700)) == [(100, 600), (700, 1000)]
    assert context_spans(1000, 100, (600, 1000)) == [(100, 600)]


def score(generated, real, foreign, context):
    return context_score([np.stack(four)[None] for four in zip(generated, real, foreign, context, strict=True)])


def test_context_scores_real_regions_1_and_foreign_ones_0():
    rng = np.random.default_rng(0)
    context = rng.normal(size=(40, 16))
    real, foreign = context + 0.3 * rng.normal(size=(40, 16)), rng.normal(size=(40, 16))
    assert score(real, real, foreign, context).score == 1
    assert score(foreign, real, foreign, context).score == 0
    between = score(context + rng.normal(size=(40, 16)), real, foreign, context)
    assert 0.4 < between.interval[0] < between.score < between.interval[1] < 0.9


def test_without_a_scale_there_is_no_context_score():
    same = np.random.default_rng(0).normal(size=(5, 8))
    found = score(same, same, same, same)
    assert np.isnan(found.score)
    assert found.interval is None
