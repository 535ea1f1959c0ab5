"""The client against a real server with `mini`."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom import Client
from soundloom.errors import RequestError, ServerError
from tests.serving.http.conftest import TOKEN

RAIN = {"seconds": 1, "seed": 7}
LOCAL_FACTS = ("source",)  # of a record


def test_a_clip_is_that_of_a_local_model(client, model):
    clip, expected = client.generate("rain", **RAIN), model.generate("rain", **RAIN)
    assert (clip.audio == expected.audio).all() and clip.sample_rate == expected.sample_rate
    assert dict(clip.record) == dict(expected.record)
    assert clip.source_format is None and len(clip.take) == 16


def test_a_list_of_prompts_gives_a_list_of_clips(client, model):
    clips = client.generate(["rain", "wind"], seconds=[1, 0.5], seed=3)
    assert [clip.record["request"]["prompt"] for clip in clips] == ["rain", "wind"]
    assert [clip.record["seed"] for clip in clips] == [3, 4]
    assert [clip.samples for clip in clips] == [44_100, 22_050]
    assert (clips[0].audio == model.generate("rain", seconds=1, seed=3).audio).all()
