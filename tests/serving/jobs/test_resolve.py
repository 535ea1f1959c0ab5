"""What a client asks for becomes requests that the model can run, or one sentence that says why not."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.errors import ModelNotFoundError, RequestError, SoundloomError
from soundloom.serving.jobs.resolve import JobBody, KnownModel, plan_clips, resolve

MINI, MUSIC, EDITOR = (KnownModel.open(name, {}) for name in ("mini", "musicgen-small", "instruct-musicgen"))
SOURCE = Clip(np.zeros((2, 3 * 44100), np.float32), 44100)


def test_each_clip_has_a_seed_and_clips_alike_share_a_key():
    clips = resolve(JobBody("generate", {"prompt": "rain", "seed": 7, "seconds": 2}, count=3), MINI, None)
    assert [clip.request["seed"] for clip in clips] == [7, 8, 9]
    assert len({clip.key for clip in clips}) == 1
    (other,) = resolve(JobBody("generate", {"prompt": "rain", "seconds": 5, "steps": 4}), MINI, None)
    assert other.key != clips[0].key and other.seconds == 5
    assert isinstance(other.request["seed"], int)


def test_stored_requests_are_planned_alike():
    body = JobBody("vary", {"prompt": "rain"}, source="a", count=2)
    clips = resolve(body, MINI, SOURCE)
    assert [clip.request["noise"] for clip in clips] == [0.6, 0.6]
    assert plan_clips("vary", MINI, [clip.request for clip in clips], SOURCE) == clips


def test_long_clips_cost_all_their_passes():
    (short,) = resolve(JobBody("generate", {"prompt": "rain", "seconds": 4}), MINI, None)
    (long,) = resolve(JobBody("generate", {"prompt": "rain", "seconds": 20}), MINI, None)
    assert long.seconds == 20 and long.seconds_to_generate > 4 * short.seconds_to_generate
    assert long.notes and not short.notes


@pytest.mark.parametrize(
    ("kind", "request_", "model"),
    [
        ("inpaint", {"prompt": "rain", "regions": [[1, 2]]}, MINI),
        ("extend", {"prompt": "rain", "seconds": 5}, MINI),
        ("extend", {"prompt": "rain", "offset": 1}, MINI),
        ("vary", {"prompt": "rain", "regions": [[1, 2]], "noise": 0.5}, MINI),
        ("loop", {"prompt": "rain"}, MINI),
        ("edit", {"prompt": "Only drums"}, EDITOR),
    ],
)
def test_every_kind_of_edit(kind, request_, model):
    (clip,) = resolve(JobBody(kind, request_, source="a"), model, SOURCE)
    assert clip.seconds >= 3


@pytest.mark.parametrize(
    ("body", "model", "source", "message"),
    [
        (JobBody("sing", {}), MINI, None, "no kind of job named 'sing'"),
        (JobBody("generate", {"prompt": "a"}, count=0), MINI, None, "count must be between 1 and 100, found 0"),
        (JobBody("generate", {"prompt": "a"}, count=True), MINI, None, "count must be"),
        (JobBody("generate", {"prompt": "a"}), MINI, SOURCE, "needs no source"),
        (JobBody("vary", {"prompt": "a"}), MINI, None, "needs a source"),
        (JobBody("generate", {"prompt": 5}), MINI, None, "a prompt must be text"),
        (JobBody("generate", {"prompts": "a"}), MINI, None, "unknown fields: prompts"),
        (JobBody("generate", {"prompt": "a", "seconds": 1e9}), MINI, None, "seconds must be"),
        (JobBody("inpaint", {"prompt": "a"}), MINI, SOURCE, "at least one region"),
        (JobBody("extend", {"prompt": "a"}), MINI, SOURCE, "would vary the source"),
        (JobBody("inpaint", {"prompt": "a", "regions": [[1, 2]], "seconds": 9}), MINI, SOURCE, "would extend"),
        (JobBody("edit", {"prompt": "a"}), MINI, SOURCE, "follows instructions"),
        (JobBody("vary", {"prompt": "a"}), MUSIC, SOURCE, "MusicGen models cannot vary"),
        (JobBody("edit", {"prompt": "a"}), MUSIC, SOURCE, "no adapter"),
        (JobBody("generate", {"prompt": "a"}, loras=({"name": "x"},)), MUSIC, None, "take no adapters"),
        (JobBody("generate", {"prompt": "a"}, loras=({"name": "/etc/passwd"},)), MINI, None, "no adapter named"),
        (JobBody("generate", {"prompt": "a", "loras": {"uses": [{"name": "x"}]}}), MINI, None, "without its hash"),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence(body, model, source, message):
    with pytest.raises(SoundloomError, match=message):
        resolve(body, model, source)


def test_models_are_named_never_paths(tmp_path):
    for name in ("no-such-model", str(tmp_path), "../mini", "large", ""):
        with pytest.raises(ModelNotFoundError):
            KnownModel.open(name, {})
    with pytest.raises(RequestError, match="autoencoder alone"):
        KnownModel.open("same-s", {})
