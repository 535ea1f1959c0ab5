import numpy as np
import pytest

from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.evaluation.synthetic.tempo import fit_tempo, rhythms_of


def loop(family, variant, bpm, **more):
    return Labels(family, variant, bpm=bpm, material="acoustic", **more)


def found(labels, seconds=4.0):
    audio = render(labels, seconds, np.random.default_rng(0))
    return fit_tempo(audio, SAMPLE_RATE, rhythms_of(labels))


@pytest.mark.parametrize(
    "labels",
    [
        loop("single drum loop", "kick", 72),
        loop("single drum loop", "shaker", 160, swing=1 / 3),
        loop("single drum loop", "closed hi-hat", 97),
        loop("single drum loop", "tom", 133),
        loop("drum loop", "house", 120),
        loop("drum loop", "hip hop", 85, swing=1 / 3),
        loop("drum loop", "reggae", 75),
        loop("drum loop", "latin", 110),
    ],
    ids=lambda labels: f"{labels.variant} {labels.bpm}",
)
def test_tempo_is_within_two_percent(labels):
    assert found(labels).bpm == pytest.approx(labels.bpm, rel=0.02)


def test_half_the_tempo_is_detected():
    played = render(loop("single drum loop", "kick", 70), 4.0, np.random.default_rng(0))
    requested = loop("single drum loop", "kick", 140)
    assert fit_tempo(played, SAMPLE_RATE, rhythms_of(requested)).bpm == pytest.approx(70, rel=0.02)


def test_loop_may_start_anywhere_in_its_bar():
    labels = loop("drum loop", "rock", 120)
    audio = render(labels, 5.0, np.random.default_rng(0))[:, 30_000:]
    assert fit_tempo(audio, SAMPLE_RATE, rhythms_of(labels)).bpm == pytest.approx(120, rel=0.02)


def test_silence_has_no_tempo():
    assert fit_tempo(np.zeros((2, SAMPLE_RATE)), SAMPLE_RATE, rhythms_of(loop("drum loop", "rock", 120))) is None


def test_sounds_without_tempo_have_no_rhythm():
    assert rhythms_of(Labels("rain")) == []
