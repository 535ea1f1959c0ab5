import numpy as np
import pytest

from soundloom.evaluation.statistics.adjust import benjamini_hochberg, holm
from soundloom.evaluation.statistics.tests import mcnemar, sign_flip, tost, wilcoxon


def differences(count: int = 40, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal(count) + mean


def test_a_sign_flip_test_finds_a_difference_and_none():
    assert sign_flip(differences(mean=1.0)).p == pytest.approx(1 / 10_001)
    assert sign_flip(np.zeros(10)).p == 1
    assert sign_flip(differences()).p > 0.05
    assert sign_flip(differences(), seed=1) == sign_flip(differences(), seed=1)


@pytest.mark.parametrize("count", [5, 50, 51, 400])
def test_wilcoxon_equals_scipy(count):
    scipy = pytest.importorskip("scipy.stats")
    values = differences(count, 0.2, seed=count)
    for one in (values, np.round(values, 1)):  # rounded: with ties and zeros
        wanted = scipy.wilcoxon(one, method="exact" if len(set(np.abs(one))) == count <= 50 else "approx")
        found = wilcoxon(one)
        assert (found.statistic, found.p) == pytest.approx((wanted.statistic, wanted.pvalue), rel=1e-9)


def test_without_any_difference_tests_find_none():
    assert wilcoxon(np.zeros(5)).p == 1
    assert mcnemar(0, 0) == 1


def test_equivalence_needs_the_whole_interval_within_the_margin():
    small = differences(200) * 0.01
    assert tost(small.tolist(), 0.01).equivalent
    assert not tost(small.tolist(), 0.0005).equivalent
    assert not tost((small - small.mean() + 0.0095).tolist(), 0.01).equivalent


def test_adjusted_p_values_keep_their_order_and_stay_below_one():
    p = [0.04, 0.01, 0.6, 0.01]
    assert holm(p).tolist() == pytest.approx([0.08, 0.04, 0.6, 0.04])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.04 * 4 / 3, 0.02, 0.6, 0.02])
    assert holm([0.9, 0.8]).max() <= 1


def test_few_pairs_prove_no_equivalence():
    assert not tost([0.001, -0.001] * 3, 0.01).equivalent
    assert tost([0.001, -0.001] * 4, 0.01).equivalent
