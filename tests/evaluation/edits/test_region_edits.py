"""Faults that are planted in edits of regions must be found."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.evaluation.edits.region_edits import measure_edit, plan_edits
from tests.evaluation.edits.sounds import RATE, regenerated, source


@pytest.fixture(scope="module")
def edit():
    return plan_edits([source(1)], (1.0,), (0.5,), (1,), with_ends=False)[0]


@pytest.fixture
def edited(edit):
    return regenerated(edit, 2)


def test_edits_are_placed_inside_sounds_with_room_on_both_sides():
    sources = [source(1, seconds=4.0), source(2, seconds=1.2)]
    edits = plan_edits(sources, (0.5, 2.0, 30.0), (0.0, 0.5, 1.0), (1, 2), with_ends=True)
    assert len({(edit.id, edit.seed) for edit in edits}) == len(edits)
    assert {(edit.number, edit.gap) for edit in edits} == {(0, 0.5), (0, 2.0), (1, 0.5)}
    for edit in edits:
        start, end = edit.span
        assert round(0.25 * RATE) <= start < end <= edit.source.samples
        assert end - start == round(edit.gap * RATE)
        assert len(edit.edges) == (1 if edit.kind == "continuation" else 2)
        request = edit.request(None)
        assert request.seed == edit.seed
        if edit.kind == "continuation":
            assert request.source.samples == start
            assert round(request.seconds * RATE) == edit.source.samples
        else:
            assert tuple(round(edge * RATE) for edge in request.regions[0]) == edit.span


def test_a_clean_edit_has_no_faults(edit, edited):
    found = measure_edit(edit, edited)
    assert found.failures == ()
    assert found.kept.changed_samples == 0
    assert found.kept.is_edited
    assert found.honored.is_within(round(0.01 * RATE))
    assert max(seam.rank for seam in found.seams) < 0.999
    assert found.features.shape == found.shams.shape == (2, 6)


def test_a_click_of_one_sample_at_a_seam_has_rank_1(edit, edited):
    edge = edit.span[0]
    away = np.sign(edited[:, edge + 1] - edited[:, edge - 1])  # so that the step into the click is the larger one
    edited[:, edge] = 0.9 * away
    assert measure_edit(edit, edited).seams[0].rank == 1.0


def test_one_changed_sample_outside_the_region_is_counted(edit, edited):
    edited[0, 7] += 1e-3
    found = measure_edit(edit, edited)
    assert found.kept.changed_samples == 1
    assert not found.honored.is_within(round(0.01 * RATE))


def test_swapped_sides_change_every_sample(edit, edited):
    found = measure_edit(edit, edited[::-1].copy())
    assert found.kept.changed_samples == 2 * (edit.source.samples - RATE)


def test_a_shifted_region_is_not_honored(edit, edited):
    found = measure_edit(edit, np.roll(edited, 400, axis=1))
    assert not found.honored.is_within(round(0.01 * RATE))
    assert found.kept.changed_samples > 0


@pytest.mark.parametrize(
    ("spoil", "failure"),
    [
        (lambda audio, span: np.delete(audio, np.s_[: round(0.3 * RATE)], axis=1), "wrong length"),
        (lambda audio, span: np.where(np.arange(audio.shape[1]) == 9, np.nan, audio), "not finite"),
        (lambda audio, span: audio * (np.cumsum(np.ones(audio.shape[1])) <= span[0]), "silent"),
        (lambda audio, span: audio[:1], "wrong channels"),
        (lambda audio, span: None, "unusable"),
    ],
)
def test_unusable_results_are_failures(edit, edited, spoil, failure):
    spoiled = spoil(edited, edit.span)
    found = measure_edit(edit, None if spoiled is None else spoiled.astype(np.float32))
    assert found.failures == (failure,)


def test_silence_is_no_failure_where_the_source_is_silent(edit, edited):
    start, end = edit.span
    edit.source.audio[:, start:end] = 0
    edited[:, start:end] = 0
    assert measure_edit(edit, edited).failures == ()
