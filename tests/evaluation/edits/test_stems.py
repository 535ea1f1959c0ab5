from __future__ import annotations

import numpy as np
import pytest

from soundloom.evaluation.edits.stems import is_present, multi_resolution_log_mel, score_stems

RATE = 32000


@pytest.fixture
def stems():
    rng = np.random.default_rng(0)
    times = np.arange(RATE) / RATE
    bass, piano = (0.3 * np.sin(2 * np.pi * f * times) for f in (110, 880))
    return bass[None], piano[None], 0.1 * rng.normal(size=(1, RATE))


def test_a_right_removal_improves_on_the_input(stems):
    bass, piano, noise = stems
    mixture = bass + piano
    scores = score_stems(bass + 0.1 * noise, bass, mixture, bass + noise, RATE, "remove")
    assert scores.si_sdr > 20
    assert scores.si_sdr_improvement == pytest.approx(scores.si_sdr, abs=0.2)  # the input's is 0 dB
    assert scores.si_sdr > scores.ceiling_si_sdr
    assert scores.log_mel < scores.ceiling_log_mel
    unchanged = score_stems(mixture, bass, mixture, bass, RATE, "extract")
    assert unchanged.si_sdr_improvement == 0


def test_additions_have_no_signal_ratio(stems):
    bass, piano, _ = stems
    scores = score_stems(bass + piano, bass + piano, bass, bass + piano, RATE, "add")
    assert np.isnan([scores.si_sdr, scores.si_sdr_improvement, scores.ceiling_si_sdr]).all()
    assert scores.log_mel == 0


def test_a_silent_truth_and_a_source_that_needs_no_edit_have_no_ratio(stems):
    bass, _, noise = stems
    silent = score_stems(noise, 0 * bass, bass, 0 * bass, RATE, "extract")
    assert np.isnan([silent.si_sdr, silent.si_sdr_improvement, silent.ceiling_si_sdr]).all()
    untouched = score_stems(bass + 0.1 * noise, bass, bass, bass + noise, RATE, "remove")
    assert np.isnan(untouched.si_sdr_improvement) and untouched.si_sdr > 20


def test_log_mel_ignores_phase_and_hears_level(stems):
    _, piano, noise = stems
    assert multi_resolution_log_mel(-noise, noise, RATE) == 0
    assert multi_resolution_log_mel(2 * noise, noise, RATE) == pytest.approx(6.02, abs=0.1)
    assert multi_resolution_log_mel(piano, noise, RATE) > 10
    assert np.isnan(multi_resolution_log_mel(piano[:, :0], piano, RATE))


def test_a_stem_is_present_if_it_is_loud_and_the_tagger_agrees(stems):
    bass, _, noise = stems
    assert is_present(bass, bass + noise)
    assert not is_present(0.05 * bass, bass + noise)
    assert not is_present(0 * bass, 0 * bass)
    assert is_present(bass, bass + noise, probability=0.6, median=0.5)
    assert not is_present(bass, bass + noise, probability=0.4, median=0.5)
