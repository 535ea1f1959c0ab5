"""Metrics of seeds and edits when some clips fail."""

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.datasets.synthetic import family_prompts
from soundloom.evaluation.synthetic import editing
from soundloom.evaluation.synthetic.editing import seed_metrics, variation_metrics

PROMPTS = family_prompts(("tone", "rain"), 2)
SECONDS, RATE = 0.5, 44100


class FakeModel:
    sample_rate = RATE


def clip(seed: int) -> Clip:
    return Clip(np.random.default_rng(seed).normal(0, 0.1, (2, int(SECONDS * RATE))).astype(np.float32), RATE)


def values(rows) -> dict[str, float]:
    return {row.name.strip(): row.value for row in rows}


@pytest.fixture
def generate(monkeypatch):
    """Replace generation by a function of the number of earlier requests and a request."""

    def replace(function):
        clips = []

        def generate_clips(model, requests):
            new = [function(len(clips) + i, request) for i, request in enumerate(requests)]
            clips.extend(new)
            return new

        monkeypatch.setattr(editing, "generate_clips", generate_clips)

    return replace


def test_failed_clip_neither_repeats_nor_differs(generate):
    generate(lambda number, request: None if number < 3 else clip(request.seed))  # all three of the first prompt
    found = values(seed_metrics(FakeModel(), PROMPTS, SECONDS, 1))
    assert (found["two seeds differ"], found["one seed repeats"]) == (0.5, 0.5)


def test_source_with_a_failed_variation_is_ignored(generate):
    def vary(number, request):
        noise = np.random.default_rng(number).normal(0, 0.1 * request.noise, request.source.audio.shape)
        return None if number == 0 else Clip(request.source.audio + noise.astype(np.float32), RATE)

    generate(vary)
    found = values(variation_metrics(FakeModel(), PROMPTS, SECONDS, 1))
    assert found["variation: rank correlation of noise and mean distance"] == pytest.approx(1.0)
    assert found["variation: the same clip by clip"] == pytest.approx(0.5)
    assert found["variation: noise 0.3 nearer than 0.9"] == 0.5
