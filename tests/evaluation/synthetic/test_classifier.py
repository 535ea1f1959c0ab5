from dataclasses import replace

import numpy as np
import pytest

from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.datasets.synthetic.families import sample_source
from soundloom.evaluation.synthetic.classifier import NOTHING, accepted_kinds, classify

CLIPS = 4
KNOWN = (
    *("tone", "beeps", "bell", "bass", "pluck", "pad", "chord"),
    *("single drum loop", "drum loop", "rain", "wind", "noise", "siren"),
)


@pytest.mark.parametrize("family", KNOWN)
def test_families_that_mini_learns_are_classified_correctly(family):
    rng = np.random.Generator(np.random.Philox(key=7))
    for _ in range(CLIPS):
        labels = replace(sample_source(family, rng, 4.0), reverb="")
        assert classify(render(labels, 4.0, rng), SAMPLE_RATE) in accepted_kinds(labels), labels


@pytest.mark.parametrize("family", ["static", "engine", "clock", "alarm", "laser", "whoosh", "riser", "explosion"])
def test_other_families_are_classified_correctly(family):
    rng = np.random.Generator(np.random.Philox(key=8))
    labels = replace(sample_source(family, rng, 4.0), reverb="")
    assert classify(render(labels, 4.0, rng), SAMPLE_RATE) == family


def test_wrong_kinds_are_not_accepted():
    rng = np.random.default_rng(0)
    bell = render(Labels("bell", "bell", hz=440.0), 4.0, rng)
    assert classify(bell, SAMPLE_RATE) not in accepted_kinds(Labels("pluck", "guitar", hz=440.0))
    assert classify(np.zeros((2, SAMPLE_RATE)), SAMPLE_RATE) == NOTHING


def test_clips_of_few_level_frames_are_classified():
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, 882))  # two frames
    assert classify(noise, SAMPLE_RATE) == "noise"
    assert classify(noise[:, :100], SAMPLE_RATE) == NOTHING


def test_indistinguishable_families_share_kinds():
    assert accepted_kinds(Labels("lead", "saw lead", hz=440.0)) == {"tone"}
    assert accepted_kinds(Labels("instrument", "piano", hz=440.0)) == {"pluck"}
    assert accepted_kinds(Labels("tone", "sawtooth", hz=60.0)) == {"tone", "bass"}
    assert accepted_kinds(Labels("tone", "sawtooth", hz=440.0)) == {"tone"}
    assert accepted_kinds(Labels("rain", "light")) == {"rain"}
