"""The measures of seams, and the loops of `mini`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.loops import measure
from soundloom.evaluation.edits.seams import flux_score, measure_wrap, step_rank
from soundloom.pipeline.load import load_stable_audio

RATE = 44100


def tone(cycles):
    return np.sin(2 * np.pi * cycles * np.arange(RATE) / RATE)[None].repeat(2, axis=0)


def test_a_whole_number_of_cycles_wraps_without_a_step():
    assert measure_wrap(tone(441), RATE).rank < 0.999
    assert measure_wrap(tone(441.37), RATE).rank == 1.0


def test_ranks_count_smaller_steps_nearby():
    audio = np.cumsum([0, 1, 2, 3, 4, 9, 5])[None].astype(float)
    assert step_rank(audio, 5) == 1.0
    assert step_rank(audio, 1) == 0.0
    assert step_rank(audio, 3, near=1) == 0.5


def test_a_change_of_sound_has_a_high_flux():
    steady = tone(441)
    changed = np.where(np.arange(RATE) < RATE // 2, steady, tone(2000))
    assert flux_score(changed, RATE // 2, RATE) > 5
    assert abs(flux_score(changed, RATE // 4, RATE)) < 1


@pytest.mark.slow
def test_the_wrap_of_loops_cannot_be_told_from_their_inside():
    rows, error = measure(load_stable_audio("mini", keep_loaded=True, keep_bad=True), 100)
    loops, inside, plain = rows
    assert error == 0
    assert loops.beyond <= 0.01 and inside.beyond <= 0.01 and plain.beyond > 0.1
    assert loops.flux < 2
