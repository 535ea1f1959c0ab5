"""Which samples an edit changed, with faults planted in edits."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.errors import AudioError
from soundloom.evaluation.edits.kept import measure_honored, measure_kept
from tests.evaluation.edits.recorded import recorded

REGION = (400, 700)


@pytest.fixture
def source():
    return np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)


@pytest.fixture
def edited(source):
    new = source.copy()
    new[:, 405:690] = np.random.default_rng(1).normal(size=(2, 285))
    return new


def test_recorded_values_are_reached():
    call, values = recorded("edit.kept")
    kept = measure_kept(values["source"], values["edited"], [(call["args"]["start"], call["args"]["end"])])
    assert kept.changed_samples == values["changed_samples"]
    assert kept.kept_samples == values["kept_samples"]
    assert kept.largest_difference == pytest.approx(values["largest_difference"], rel=1e-9)
    assert kept.region_snr == pytest.approx(values["region_snr"], rel=1e-9)


def test_an_edit_inside_its_region_keeps_everything_else(source, edited):
    kept = measure_kept(source, edited, [REGION])
    assert (kept.changed_samples, kept.kept_samples, kept.largest_difference) == (0, 700, 0)
    assert kept.is_edited
    assert measure_honored(source, edited, REGION).is_within(10)
    assert not measure_honored(source, edited, REGION).is_within(5)


def test_one_changed_sample_outside_the_region_is_found_and_counted(source, edited):
    edited[1, 100] = np.nextafter(edited[1, 100], np.float32(9))
    kept = measure_kept(source, edited, [REGION])
    assert kept.changed_samples == 1
    assert 0 < kept.largest_difference < 1e-6
    assert measure_honored(source, edited, REGION).start == 100 - 400


def test_a_shifted_region_is_not_honored(source, edited):
    shifted = source.copy()
    shifted[:, 455:740] = edited[:, 405:690]
    honored = measure_honored(source, shifted, REGION)
    assert (honored.start, honored.end) == (55, 699 - 739)
    assert not honored.is_within(60)
    assert measure_kept(source, shifted, [REGION]).changed_samples == 2 * 40


def test_a_cut_changes_all_that_follows(source):
    kept = measure_kept(source, np.delete(source, np.s_[200:230], axis=1), [REGION])
    assert kept.changed_samples == 2 * (200 + 300)


def test_swapped_channels_change_every_sample(source, edited):
    kept = measure_kept(source, edited[::-1], [REGION])
    assert kept.changed_samples == 2 * 700


def test_an_edit_that_made_nothing_is_told(source):
    kept = measure_kept(source, source, [REGION])
    assert kept.region_snr == np.inf
    assert not kept.is_edited
    assert measure_honored(source, source, REGION).start is None


def test_samples_that_are_not_finite_are_changes(source):
    broken = source.copy()
    broken[0, 0] = np.nan
    kept = measure_kept(source, broken, [REGION])
    assert (kept.changed_samples, kept.largest_difference) == (1, np.inf)


def test_a_continuation_may_only_add(source):
    longer = np.concatenate([source, source[:, :300]], axis=1)
    assert measure_kept(source, longer, [(1000, 1300)]).changed_samples == 0
    assert measure_kept(source, longer, [(1000, 1250)]).changed_samples == 2 * 50
    before = np.concatenate([source[:, :300], source], axis=1)
    assert measure_kept(source, before, [(0, 300)], offset=300).changed_samples == 0


def test_of_several_regions_each_is_located_alone(source):
    edited = source.copy()
    edited[:, [120, 180, 500, 590]] += 1
    regions = [(100, 200), (480, 600)]
    assert measure_kept(source, edited, regions).changed_samples == 0
    first, second = (measure_honored(source, edited, one, [two]) for one, two in (regions, regions[::-1]))
    assert (first.start, first.end, second.start, second.end) == (20, 19, 20, 9)


def test_channels_must_agree(source):
    with pytest.raises(AudioError, match="2 channels and the edited clip 1"):
        measure_kept(source, source[:1], [REGION])
