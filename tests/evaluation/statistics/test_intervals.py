import numpy as np
import pytest

from soundloom.evaluation.statistics.intervals import bca, bootstrap, rank_correlation, wilson


def test_wilson_interval_matches_a_worked_example():
    low, high = wilson(0.8, 50)
    assert (low, high) == (pytest.approx(0.6696, abs=1e-3), pytest.approx(0.8876, abs=1e-3))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_wilson_interval_of_zero_or_one_is_not_empty(share):
    low, high = wilson(share, 20)
    assert 0 <= low < high <= 1
    assert high - low > 0.1


def test_bootstrap_interval_contains_the_mean_and_shrinks():
    rng = np.random.default_rng(0)
    few, many = rng.normal(3, 1, 10), rng.normal(3, 1, 1000)
    low, high = bootstrap(few)
    assert low < few.mean() < high
    assert np.diff(bootstrap(many))[0] < 0.3 * (high - low)
    assert bootstrap(few) == (low, high)


def test_rank_correlation_depends_on_order_and_shares_ties():
    assert rank_correlation((1, 2, 3), (1, 10, 1000)) == pytest.approx(1)
    assert rank_correlation((1, 2, 3), (3, 2, 1)) == pytest.approx(-1)
    assert rank_correlation((1, 2, 3, 4), (1, 1, 2, 2)) == pytest.approx(0.894, abs=1e-3)
    assert rank_correlation((1, 2, 3), (5, 5, 5)) == 0


@pytest.mark.parametrize("values", [[0.0] * 5, [0.3] * 4, [0.1 + 0.2, 0.3, 0.3]])
def test_equal_values_have_no_width(values):
    found = bca(values)
    assert found.interval == pytest.approx((values[0], values[0]))
    assert (found.bias, found.acceleration) == (0, 0)
