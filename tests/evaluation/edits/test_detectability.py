"""Whether seams can be found: never between untouched sounds, nearly always where they click."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.datasets.synthetic import render, sample_labels
from soundloom.errors import RequestError
from soundloom.evaluation.edits.detectability import (
    FEATURES,
    edge_features,
    fit_logistic,
    measure_detectability,
    roc_area,
)

RATE, CLIPS, EDGES = 44100, 24, 2


@pytest.fixture(scope="module")
def sounds():
    rngs = [np.random.Generator(np.random.Philox(key=i)) for i in range(CLIPS)]
    return [np.asarray(render(sample_labels(rng, 2.0), 2.0, rng)) for rng in rngs]


def detectability(sounds, spoil):
    rng = np.random.Generator(np.random.Philox(key=99))
    seams, shams, clips = [], [], []
    for number, sound in enumerate(sounds):
        for edge, other in rng.integers(RATE // 2, 3 * RATE // 2, (EDGES, 2)):
            seams.append(edge_features(spoil(sound.copy(), edge), edge, RATE))
            shams.append(edge_features(sound, other, RATE))
            clips.append(number)
    return measure_detectability(np.array(seams), np.array(shams), clips, clips)


def click(sound, edge):
    sound[:, edge] += 0.3
    return sound


def swap_sides(sound, edge):
    sound[:, edge:] = sound[::-1, edge:].copy()
    return sound


def test_sham_edges_cannot_be_told_from_sham_edges(sounds):
    found = detectability(sounds, lambda sound, edge: sound)
    assert found.auc == pytest.approx(0.5, abs=0.15)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert (found.edges, found.clips) == (CLIPS * EDGES, CLIPS // 2)


def test_clicks_are_found(sounds):
    found = detectability(sounds, click)
    assert found.auc > 0.95
    assert FEATURES[int(np.argmax(found.weights))] == "step rank"


def test_swapped_sides_are_found(sounds):
    assert detectability(sounds, swap_sides).interval[0] > 0.6


def test_the_result_repeats(sounds):
    assert detectability(sounds[:8], click) == detectability(sounds[:8], click)


def test_few_clips_are_rejected(sounds):
    with pytest.raises(RequestError, match="4 clips or more, found 3"):
        detectability(sounds[:3], click)


@pytest.mark.parametrize(("channels", "samples", "rate"), [(1, 2400, 8000), (2, 13230, RATE), (1, 3, RATE)])
def test_features_of_short_and_silent_clips_are_finite_or_missing(channels, samples, rate):
    features = edge_features(np.zeros((channels, samples)), samples // 2, rate)
    assert features.shape == (len(FEATURES),)
    assert not np.isinf(features).any()
    assert np.isnan(edge_features(np.zeros((channels, samples)), 0, rate)).all()


def test_logistic_regression_finds_the_weights_that_made_the_labels():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20000, 2))
    labels = (rng.uniform(size=20000) < 1 / (1 + np.exp(-(0.5 + features @ [1.0, -2.0])))).astype(float)
    assert fit_logistic(features, labels) == pytest.approx([0.5, 1.0, -2.0], abs=0.1)
    separable = fit_logistic(np.array([[-1.0], [1.0]]), np.array([0.0, 1.0]))
    assert np.isfinite(separable).all()


def test_the_area_counts_ties_half():
    assert roc_area(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx(3.5 / 4)
    assert roc_area(np.ones(5), np.ones(3)) == 0.5
