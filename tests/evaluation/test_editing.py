"""What is measured of edits and seeds where some clips cannot be made."""

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.datasets.synthetic import family_prompts
from soundloom.evaluation import editing
from soundloom.evaluation.editing import seed_metrics, variation_metrics

PROMPTS = family_prompts(("tone", "rain"), 2)
SECONDS, RATE = 0.5, 44100


class FakeModel:
    sample_rate = RATE


def clip(seed: int) -> Clip:
    return Clip(np.random.default_rng(seed).normal(0, 0.1, (2, int(SECONDS * RATE))).astype(np.float32), RATE)


def values(rows) -> dict[str, float]:
    return {row.name.strip(): row.value for row in rows}


@pytest.fixture
def make(monkeypatch):
    """Let a function of the requests so far and a request make each clip, or None."""

    def replace(function):
        made = []

        def generate_clips(model, requests):
            found = [function(len(made) + i, request) for i, request in enumerate(requests)]
            made.extend(found)
            return found

        monkeypatch.setattr(editing, "generate_clips", generate_clips)

    return replace


def test_a_clip_that_cannot_be_made_neither_repeats_nor_differs(make):
    make(lambda number, request: None if number < 3 else clip(request.seed))  # all three of the first prompt
    found = values(seed_metrics(FakeModel(), PROMPTS, SECONDS, 1))
    assert (found["two seeds differ"], found["one seed repeats"]) == (0.5, 0.5)


def test_a_variation_that_cannot_be_made_tells_nothing_of_its_source(make):
    def further(number, request):
        noise = np.random.default_rng(number).normal(0, 0.1 * request.noise, request.source.audio.shape)
        return None if number == 0 else Clip(request.source.audio + noise.astype(np.float32), RATE)

    make(further)
    found = values(variation_metrics(FakeModel(), PROMPTS, SECONDS, 1))
    assert found["variation: rank correlation of noise and mean distance"] == pytest.approx(1.0)
    assert found["variation: the same clip by clip"] == pytest.approx(0.5)
    assert found["variation: noise 0.3 nearer than 0.9"] == 0.5
