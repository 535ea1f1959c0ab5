"""How often measurements are right, wrong and unsure, on clips whose seeds were not fitted."""

import numpy as np
import pytest

from benchmarks import labeled_clips
from benchmarks.measurement import (
    key_shares,
    measured,
    mirex_score,
    onset_score,
    pitch_shares,
    tempo_shares,
    unsure_share,
)
from benchmarks.midi import MISSING, has_soundfont

SEEDS = range(42)  # of benchmarks/measurement.py, which measures 200

needs_soundfont = pytest.mark.skipif(not has_soundfont(), reason=MISSING)


def results(make, seeds=SEEDS):
    return list(measured(make(seeds)))


def require(shares, answered, right):
    """The goals of 200 clips, less one standard error for fewer."""
    assert shares.answered >= answered - np.sqrt(answered * (1 - answered) / shares.clips)
    assert shares.right >= right - np.sqrt(right * (1 - right) / shares.clips)


def test_a_few_synthetic_clips_are_right_or_unsure():
    found = results(labeled_clips.synthetic_clips, range(12))
    require(tempo_shares(found), 0.8, 0.9)
    require(key_shares(found), 0.7, 0.75)


def test_a_few_other_sounds_are_unsure():
    found = results(labeled_clips.unsure_clips, range(9))
    assert unsure_share(found, "tempo") == unsure_share(found, "key") == 1


@needs_soundfont
@pytest.mark.slow
def test_loops_of_a_soundfont():
    found = results(labeled_clips.soundfont_clips)
    require(tempo_shares(found), 0.8, 0.9)
    require(key_shares(found), 0.7, 0.75)
    assert np.mean([onset_score(r.found.onsets, r.clip.onsets) for r in found]) > 0.8
    confident = [r for r in found if r.found.tempo_confidence > 0.95]
    assert tempo_shares(confident).right > 0.95


@needs_soundfont
@pytest.mark.slow
def test_single_notes_of_a_soundfont():
    found = results(labeled_clips.soundfont_notes, range(24))
    assert unsure_share(found, "tempo") >= 0.95
    assert unsure_share(found, "key") >= 0.95
    require(pitch_shares(found), 0.6, 0.9)


@pytest.mark.slow
def test_the_synthetic_dataset():
    found = results(labeled_clips.synthetic_clips)
    require(tempo_shares(found), 0.8, 0.9)
    require(key_shares(found), 0.7, 0.75)


@pytest.mark.slow
def test_noise_rain_notes_and_speech_are_unsure():
    found = results(labeled_clips.unsure_clips, range(45))
    assert unsure_share(found, "tempo") >= 0.95
    assert unsure_share(found, "key") >= 0.95


@pytest.mark.parametrize(
    ("found", "true", "score"),
    [
        ("C major", "C major", 1.0),
        ("G major", "C major", 0.5),
        ("E minor", "A minor", 0.5),
        ("F major", "C major", 0.0),
        ("A minor", "C major", 0.3),
        ("C major", "A minor", 0.3),
        ("C minor", "C major", 0.2),
        ("F# minor", "C major", 0.0),
    ],
)
def test_the_score_of_keys_is_that_of_mirex(found, true, score):
    assert mirex_score(found, true) == score


def test_the_score_of_onsets_counts_each_once():
    assert onset_score([0.0, 0.5, 1.0], [0.0, 0.01, 0.49]) == pytest.approx(2 * 2 / 5)
    assert onset_score([], [1.0]) == 0
