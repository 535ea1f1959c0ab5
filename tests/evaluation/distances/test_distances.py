"""Properties of distances that the recorded cases (tests/golden/metrics) leave open."""

import numpy as np
import pytest

from soundloom.evaluation.distances.frechet import (
    DistanceError,
    Factor,
    extrapolate,
    frechet_distance,
    frechet_from_moments,
)
from soundloom.evaluation.distances.kernel import kernel_distance, kernel_jackknife, median_distance, subsample
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.distances.neighbors import neighbors


def draws(rows: int, dimensions: int = 12, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=seed))
    return rng.standard_normal((rows, dimensions)) * np.linspace(0.2, 2, dimensions) + shift


@pytest.mark.parametrize("rows", [3, 11, 12, 13, 200])
def test_both_forms_of_the_frechet_distance_agree(rows):
    reference, generated = draws(150, seed=1), draws(rows, seed=2, shift=0.3)
    sides = (Moments.of(reference), Moments.of(generated))
    from_moments = frechet_from_moments(*(part for side in sides for part in (side.mean, side.covariance)))
    from_rows = frechet_distance(reference, generated)
    assert from_rows == pytest.approx(from_moments, rel=1e-6)
    assert Factor.of_moments(sides[0]).distance(Factor.of(generated)) == pytest.approx(from_rows, rel=1e-6)


def test_a_perfect_model_has_a_bias_that_the_extrapolation_removes():
    reference, generated = draws(20_000, seed=3), draws(2000, seed=4)
    line = extrapolate(Factor.of(reference), generated, np.arange(2000))
    assert line.points[0] > line.points[-1] > 0.01
    assert abs(line.intercept) < line.points[-1] / 1.5
    assert line.r2 > 0.9


def test_equal_windows_of_clips_change_no_extrapolation():
    reference, generated = Factor.of(draws(20_000, seed=3)), draws(600, seed=4)
    single, repeated = (
        extrapolate(reference, np.repeat(generated, windows, axis=0), np.repeat(np.arange(600), windows))
        for windows in (1, 3)
    )
    assert repeated.sizes == single.sizes == (250, *single.sizes[1:-1], 600)
    assert abs(repeated.intercept) < repeated.points[-1] / 2
    assert repeated.intercept == pytest.approx(single.intercept, abs=single.points[-1] / 20)


def test_too_few_or_damaged_embeddings_are_errors():
    with pytest.raises(DistanceError, match="2 embeddings or more, found 1"):
        frechet_distance(draws(10), draws(1))
    damaged = draws(10)
    damaged[3, 2] = np.nan
    with pytest.raises(DistanceError, match="embedding 4 of 10 is not finite"):
        frechet_distance(damaged, draws(10))
    with pytest.raises(DistanceError, match="500 clips or more, found 499"):
        extrapolate(Factor.of(draws(600)), draws(998), np.repeat(np.arange(499), 2))
    with pytest.raises(DistanceError, match="more than 5 embeddings, found 5"):
        neighbors(draws(5), draws(50))


def test_kad_of_equal_distributions_is_near_zero_whatever_their_number():
    reference = draws(1500, seed=5)
    bandwidth = median_distance(reference)
    small, large = (kernel_distance(reference, draws(rows, seed=6), bandwidth) for rows in (60, 1200))
    shifted = kernel_distance(reference, draws(60, seed=6, shift=1.0), bandwidth)
    assert abs(small) < shifted / 10
    assert abs(large) < shifted / 30


def test_the_jackknife_covers_what_other_draws_give():
    reference = draws(800, seed=7)
    bandwidth = median_distance(reference)
    clips = np.repeat(np.arange(50), 3)  # three equal windows: 50 independent clips, not 150
    sets = [np.repeat(draws(50, seed=100 + i, shift=0.5), 3, axis=0) for i in range(60)]
    values = [kernel_distance(reference, rows, bandwidth) for rows in sets]
    errors = [kernel_jackknife(reference, rows, bandwidth, clips).standard_error for rows in sets[:10]]
    assert kernel_jackknife(reference, sets[0], bandwidth, clips).value == pytest.approx(values[0])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_overlapping_parts_of_one_array_are_other_sets():
    rows = draws(60, seed=12)
    bandwidth = median_distance(rows)
    views, copies = (kernel_distance(rows[:40], part, bandwidth) for part in (rows[20:], rows[20:].copy()))
    assert views == pytest.approx(copies, abs=1e-12)


def test_a_collapsed_model_has_high_density_and_low_coverage():
    reference = draws(300, seed=8)
    collapsed = reference.mean(axis=0) + 0.01 * draws(300, seed=9)
    found, honest = neighbors(reference, collapsed), neighbors(reference, draws(300, seed=10))
    assert found.density > honest.density > 0.8
    assert found.coverage < 0.1 < 0.8 < honest.coverage


def test_moments_of_parts_add_up_exactly():
    rows = draws(100, seed=11) + 1e3
    merged = Moments.of(rows[:7]).merged(Moments.of(rows[7:8])).merged(Moments.of(rows[8:]))
    assert merged.count == 100
    np.testing.assert_allclose(merged.covariance, np.cov(rows.T), rtol=1e-9, atol=1e-9)


def test_large_sets_are_subsampled_evenly():
    rows = np.arange(100.0)[:, None]
    assert subsample(rows, 5).ravel().tolist() == [0, 25, 50, 74, 99]
    assert len(subsample(rows, 200)) == 100
