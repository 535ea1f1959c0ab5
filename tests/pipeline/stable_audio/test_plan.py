from dataclasses import replace

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.config.catalogue import require_entry
from soundloom.config.stable_audio.request import COMPAT, Compat, GenerationRequest, Guidance
from soundloom.errors import RequestError
from soundloom.pipeline.stable_audio.plan import make_batches, plan_clip, plan_pass

SMALL = require_entry("small-music").parsed_config()
MEDIUM = require_entry("medium").parsed_config()
BASE = require_entry("small-music-base").parsed_config()


def item(seconds, config=SMALL, **options):
    request = GenerationRequest("x", seconds=seconds, **options)
    return plan_pass(plan_clip(request, config, 30), config)


# Seconds: latent frames, valid frames (published package) and frames of the MLX runtime before evening.
PUBLISHED = {
    0.25: (68, 67, 3),
    5: (120, 118, 54),
    10: (174, 172, 108),
    18: (260, 258, 194),
    30: (388, 387, 323),
    60: (712, 710, 646),
    120: (1292, 1292, 1292),
}


@pytest.mark.parametrize("seconds", PUBLISHED)
def test_lengths_match_the_published_package(seconds):
    frames, valid, compact = PUBLISHED[seconds]
    package = item(seconds, compat=Compat.named("stable-audio-3"))
    assert (package.frames, package.valid) == (frames, valid)
    assert item(seconds).frames == valid
    assert item(seconds, compat=Compat.named("mlx")).frames == compact + compact % 2


def test_medium_reaches_380_seconds():
    assert item(380, MEDIUM).frames == 4096


def test_a_clip_has_the_requested_length_to_the_sample():
    assert item(1.23456).samples == round(1.23456 * 44100)
    ratio = SMALL.same.downsampling_ratio
    for seconds in (40960.6 / 44100, *(samples / 44100 for samples in range(ratio, 16 * ratio, ratio // 4))):
        result = item(seconds, duration_padding=0.0)
        assert result.samples == round(seconds * 44100) <= result.frames * ratio


def test_defaults_follow_the_objective():
    distilled, base = (plan_clip(GenerationRequest("x"), config, 30) for config in (SMALL, BASE))
    assert (distilled.steps, distilled.sampler, distilled.guidance.scale) == (8, "pingpong", 1)
    assert (base.steps, base.sampler, base.guidance.scale) == (50, "euler", 7)


def test_a_missing_seed_is_random():
    seeds = {plan_clip(GenerationRequest("x"), SMALL, 30).seed for _ in range(8)}
    assert len(seeds) > 1


def test_published_behavior_rejects_clips_beyond_the_limit():
    assert plan_clip(GenerationRequest("x", seconds=121), SMALL, 30).seconds == 121
    with pytest.raises(RequestError, match="at most 120 s"):
        plan_clip(GenerationRequest("x", seconds=121, compat=COMPAT["mlx"]), SMALL, 30)


def test_passes_of_one_length_and_kind_share_a_batch(monkeypatch):
    items = [item(5), item(9), item(5), item(5, guidance=Guidance(3)), item(5)]
    batches = make_batches(items, SMALL)
    assert [batch.places for batch in batches] == [(0, 2, 4), (1,), (3,)]
    monkeypatch.setattr("soundloom.pipeline.plan.MAX_BATCH", 2)
    assert [len(batch.passes) for batch in make_batches([item(5)] * 5, SMALL)] == [2, 2, 1]


def test_published_behavior_pads_passes_to_the_longest():
    compat = Compat.named("stable-audio-3")
    (batch,) = make_batches([item(5, compat=compat), item(10, compat=compat)], SMALL)
    assert batch.frames == 174
    assert batch.valid.sum(axis=1).tolist() == [118, 172]


def test_each_variation_has_a_schedule_from_its_own_level():
    clip = Clip(np.zeros((2, 44100), np.float32), 44100)
    items = []
    for level in (0.3, 0.9):
        job = plan_clip(GenerationRequest("x", source=clip, noise=level), SMALL, 30)
        items.append(replace(plan_pass(job, SMALL), audio=clip.audio))
    (batch,) = make_batches(items, SMALL)
    assert batch.times[:, 0].tolist() == [0.3, 0.9]
    assert batch.keep is None
