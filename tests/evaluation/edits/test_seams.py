"""The measures of seams, and the loops of `mini`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.loops import measure
from soundloom.evaluation.edits.seams import flux_score, loudness_step, measure_seam, measure_wrap, step_rank
from soundloom.pipeline.load import load_stable_audio
from tests.evaluation.edits.recorded import recorded

RATE = 44100


def tone(cycles):
    return np.sin(2 * np.pi * cycles * np.arange(RATE) / RATE)[None].repeat(2, axis=0)


def test_recorded_ranks_are_reached():
    call, values = recorded("edit.seam")
    edges, near = (call["args"]["start"], call["args"]["end"]), call["args"]["near"]
    assert [step_rank(values["edited"], edge, near) for edge in edges] == values["rank"].tolist()
    assert np.isnan([step_rank(values["edited"], edge, near) for edge in (0, 900)]).all()


def test_a_whole_number_of_cycles_wraps_without_a_step():
    assert measure_wrap(tone(441), RATE).rank < 0.999
    assert measure_wrap(tone(441.37), RATE).rank == 1.0


def test_ranks_count_smaller_steps_nearby():
    audio = np.cumsum([0, 1, 2, 3, 4, 9, 5])[None].astype(float)
    assert step_rank(audio, 5) == 1.0
    assert step_rank(audio, 1) == 0.0
    assert step_rank(audio, 3, near=1) == 0.5


def test_a_click_of_one_sample_has_the_highest_rank():
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, RATE))
    assert measure_seam(noise, 20000, RATE).rank < 0.999
    noise[1, 20000] += 1
    assert measure_seam(noise, 20000, RATE).rank == 1.0


def test_a_change_of_sound_has_a_high_flux():
    steady = tone(441)
    changed = np.where(np.arange(RATE) < RATE // 2, steady, tone(2000))
    assert flux_score(changed, RATE // 2, RATE) > 5
    assert abs(flux_score(changed, RATE // 4, RATE)) < 1


def test_flux_is_compared_with_the_source_where_it_is_given():
    rng = np.random.default_rng(0)
    source, calm = rng.normal(size=(2, 2 * RATE)), rng.normal(size=(2, 2 * RATE))
    busy = source * np.repeat(rng.uniform(0.01, 1, 2 * RATE // 900), 900)
    edited = calm.copy()
    edited[:, RATE:] *= 0.2
    assert flux_score(edited, RATE, RATE, calm) > 5
    assert flux_score(edited, RATE, RATE, busy) < 2


def test_steps_of_loudness_are_in_loudness_units():
    noise = 0.05 * np.random.default_rng(0).normal(size=(2, 4 * RATE))
    noise[:, 2 * RATE :] *= 2
    assert loudness_step(noise, 2 * RATE, RATE) == pytest.approx(6.02, abs=0.2)
    assert loudness_step(noise, 2 * RATE, RATE, seconds=0.5) == pytest.approx(6.02, abs=0.3)
    assert np.isnan(loudness_step(noise, 100, RATE))
    assert loudness_step(0 * noise, 2 * RATE, RATE) == 0


@pytest.mark.parametrize("samples", [1, 1024, 2400, 8000])
def test_short_clips_have_no_flux(samples):
    seam = measure_seam(np.ones((1, samples)), samples // 2, 8000)
    assert np.isnan(seam.flux)


@pytest.mark.slow
def test_the_wrap_of_loops_cannot_be_told_from_their_inside():
    rows, error = measure(load_stable_audio("mini", keep_loaded=True, keep_bad=True), 100)
    loops, inside, plain = rows
    assert error == 0
    assert loops.beyond <= 0.01 and inside.beyond <= 0.01 and plain.beyond > 0.1
    assert loops.flux < 2
