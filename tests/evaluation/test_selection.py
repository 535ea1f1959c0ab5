"""Scores by which --pick keeps clips."""

import math

import pytest

from soundloom.audio.checks import Finding
from soundloom.audio.measure import Measurement
from soundloom.evaluation.selection import Asked, best, key_score, score, tempo_score

WARNING = Finding("clipped", "warning", "3 % of the samples are at or beyond full scale")
ERROR = Finding("silent", "error", "the clip is silent")


def measured(**values) -> Measurement:
    unsure = {"tempo": None, "key": None, "pitch": None}
    confidences = {f"{name}_confidence": 0.5 for name in unsure}
    levels = {"loudness": -16.0, "true_peak": -1.0, "onsets": (), "sound_seconds": 4.0}
    return Measurement(**(unsure | confidences | levels | values))


def test_nearer_tempos_score_higher_and_octaves_are_half_right():
    deviations = [0.0, 0.01, 0.04, 0.1, 0.3]
    scores = [tempo_score(120, 120 * (1 + each)) for each in deviations]
    assert scores == sorted(scores, reverse=True)
    assert (scores[0], scores[2]) == (1, pytest.approx(0.5))
    assert tempo_score(120, 240) == tempo_score(120, 60) == 0.5
    assert tempo_score(120, 100) < tempo_score(120, None) < tempo_score(120, 60)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("A minor", 1),
        ("E minor", 0.5),
        ("C major", 0.3),
        ("A major", 0.2),
        ("D minor", 0),
        ("G# major", 0),
        (None, 0.2),
    ],
)
def test_keys_score_as_in_mirex(found, expected):
    assert key_score("A minor", found) == expected


def test_related_keys_of_a_major_key():
    assert [key_score("C# major", key) for key in ("G# major", "A# minor", "C# minor", "E minor")] == [0.5, 0.3, 0.2, 0]


def test_only_what_was_asked_is_scored():
    assert score(Asked(), measured(tempo=99.0), []).terms == ()
    assert score(Asked(), measured(), []).value == 1
    found = score(Asked(120, "A minor", 8, -14), measured(tempo=120.0, key="A minor"), [])
    assert [(term.name, round(term.score, 3)) for term in found.terms] == [
        *(("tempo", 1), ("key", 1), ("sound", 0.5), ("loudness", 0.5))
    ]
    assert found.value == 0.75
    assert str(found) == (
        "score 0.75: tempo 120 of 120 BPM (1.00); key A minor of A minor (1.00); sound 4 of 8 s (0.50); "
        "loudness -16 of -14 LUFS (0.50)"
    )


def test_silence_has_no_loudness():
    found = score(Asked(loudness=-14), measured(loudness=-math.inf), [ERROR])
    assert (found.value, found.terms[0].found) == (0, None)
    assert found.to_json() == {
        "score": 0.0,
        "terms": {"loudness": {"asked": -14, "found": None, "score": 0.0}},
        "faults": ["the clip is silent"],
    }


def test_faults_come_before_the_score_and_ties_keep_the_order():
    asked = Asked(tempo=120)
    scores = {
        0: score(asked, measured(tempo=120.0), [ERROR]),
        1: score(asked, measured(tempo=120.0), [WARNING]),
        2: score(asked, measured(tempo=90.0), []),
        3: score(asked, measured(tempo=121.0), []),
        4: score(asked, measured(tempo=121.0), []),
    }
    assert best(scores, 9) == [3, 4, 2, 1, 0]
    assert best(dict(reversed(scores.items())), 2) == [3, 4]
