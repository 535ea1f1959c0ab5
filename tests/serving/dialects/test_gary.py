"""gary's routes on a real server with `mini`: two ports, one of them gary's."""

from __future__ import annotations

import base64
import io
import json
import time
import wave

import httpx
import numpy as np
import pytest
import soundfile

from soundloom.serving.dialects.gary import sessions

LOOP = {"prompt": "kick drum loop", "bpm": 129, "bars": 4, "seed": 7}


@pytest.fixture(scope="module")
def gary(tmp_path_factory, running):
    with (
        running(tmp_path_factory.mktemp("gary"), gary=True) as (client, _),
        httpx.Client(base_url=client.headers["x-gary"], timeout=60) as found,
    ):
        found.native = client
        yield found


def finished(gary, session, **params):
    for _ in range(1200):
        answer = gary.get(f"/poll_status/{session}", params=params).json()
        if answer["status"] in ("completed", "failed"):
            return answer
        assert answer["generation_in_progress"] or answer["transform_in_progress"]
        assert answer["status"] in ("queued", "generating", "encoding")
        assert 0 <= answer["progress"] < 100
        time.sleep(0.05)
    raise AssertionError(answer)


def audio_of(answer):
    data = base64.b64decode(answer["audio_data"])
    with wave.open(io.BytesIO(data)) as file:  # reads PCM only
        assert file.getframerate() == 44_100
    return soundfile.read(io.BytesIO(data), always_2d=True)[0]


def encoded(tone):
    return base64.b64encode(tone).decode()


def test_both_ports_have_their_own_health(gary):
    found = gary.get("/health").json()
    assert found["status"] == "healthy"
    assert (found["model"], found["sample_rate"], found["cuda_available"]) == ("mini", 44_100, False)
    assert not {"encoding", "loaded"} & set(found)
    assert gary.native.get("/health").json()["status"] == "alive"
    assert gary.get("/v1/jobs").status_code == 404
    assert gary.native.get("/poll_status/x").status_code == 404


def test_gary_is_guarded_against_pages_and_other_names(gary):
    assert gary.post("/generate", json={}, headers={"Origin": "https://example.org"}).status_code == 403
    assert gary.get("/health", headers={"Host": "example.org"}).status_code == 421


def test_a_loop_has_the_length_that_was_promised(gary):
    accepted = gary.post("/generate/loop", json=LOOP | {"limiter_knee": 0.5, "keep_models": True}).json()
    assert accepted["success"] is True
    assert len(accepted["session_id"]) == 12
    assert (accepted["seed"], accepted["bars"], accepted["bpm"]) == (7, 4, 129)
    assert accepted["target_samples"] == round(4 * 240 / 129 * 44_100)
    assert accepted["ignored"] == ["limiter_knee", "keep_models"]
    found = finished(gary, accepted["session_id"])
    assert found["status"] == "completed"
    assert abs(len(audio_of(found)) - accepted["target_samples"]) <= 1
    assert found["meta"]["seed"] == 7
    assert found["meta"]["generation_seconds"] > 0
    assert found["meta"]["ignored"] == ["limiter_knee", "keep_models"]


def test_the_tempo_may_be_in_the_prompt(gary):
    accepted = gary.post("/generate/loop", json={"prompt": "kick drum loop, 144 BPM", "bars": 4, "seed": 7}).json()
    assert accepted["bpm"] == 144
    assert finished(gary, accepted["session_id"], consume=1)["success"]
    again = gary.get(f"/poll_status/{accepted['session_id']}")
    assert again.status_code == 404
    assert again.json() == {"success": False, "error": f"unknown session: {accepted['session_id']}"}


def test_a_body_is_json_whatever_its_type_and_both_lengths_are_legal(gary):
    body = {"prompt": "rain", "duration": 1, "seconds": 1, "seed": -1, "shift": "flux", "cfg_scale": 1.0}
    body |= {"sampler_type": "pingpong", "duration_padding_sec": 2, "loras": [], "steps": 4}
    accepted = gary.post("/generate", content=json.dumps(body), headers={"Content-Type": ""}).json()
    assert accepted["success"], accepted
    assert (accepted["duration"], accepted["tail_pad"], accepted["gen_duration"]) == (1, 2, 3)
    assert 0 < accepted["seed"] < 2**31
    found = finished(gary, accepted["session_id"])
    assert len(audio_of(found)) == 44_100
    record = gary.native.get(f"/v1/takes/{found['meta']['take']}").json()["record"]["request"]
    assert (record["shift"]["type"], record["steps"]) == ("flux", 4)


def test_a_transformed_clip_keeps_its_length(gary, tone):
    body = {"prompt": "rain", "audio_data": encoded(tone), "strength": 7, "duration": 3}
    accepted = gary.post("/transform", json=body).json()
    assert (accepted["strength"], accepted["input_duration"], accepted["input_sr"]) == (1, 1, 44_100)
    assert accepted["input_channels"] == 1
    assert accepted["ignored"] == ["duration"]
    assert len(audio_of(finished(gary, accepted["session_id"]))) == 44_100


def test_a_continued_clip_begins_with_the_source(gary, tone):
    body = {"prompt": "a sine wave", "audio_data": encoded(tone), "continuation_seconds": 0.5}
    accepted = gary.post("/continue", json=body | {"continuation_mode": "latent_prefix"}).json()
    assert (accepted["total_duration"], accepted["mask_start_seconds"], accepted["mask_end_seconds"]) == (1.5, 1, 1.5)
    audio = audio_of(finished(gary, accepted["session_id"]))
    source = soundfile.read(io.BytesIO(tone))[0]
    assert len(audio) == accepted["target_samples"] == 66_150
    same = audio[: 44_100 - 441, 0] - source[:-441]  # the crossfade changes the last 10 ms
    assert np.abs(same).max() < 1e-6


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/generate", {"prompt": "rain", "duration": "x"}, "duration: must be a number"),
        ("/generate", {"prompt": "rain", "duration": 0}, "duration: must be"),
        ("/generate", {"prompt": 5}, "prompt: must be text"),
        ("/generate", {"prompt": "rain", "sampler_type": "none"}, "no sampler named"),
        ("/generate", {"prompt": "rain", "shift": "none at all"}, "shift: must be one of"),
        ("/generate", {"prompt": "rain", "loras": [{"name": "nothing"}]}, "no adapter named"),
        ("/generate", {"prompt": "rain", "loras": "kev"}, "loras: must be a list"),
        ("/generate", {"prompt": "rain", "init_path": "/etc/passwd"}, "init_path: no path"),
        ("/generate/loop", {"prompt": "rain"}, "bpm: is required"),
        ("/generate/loop", {"prompt": "rain", "bpm": 120, "bars": 5}, "bars: must be one of"),
        ("/transform", {"prompt": "rain"}, "audio_data: is required"),
        ("/transform", {"prompt": "rain", "audio_data": "%%%"}, "audio_data: is no valid base64"),
        ("/transform", {"prompt": "rain", "audio_data": "dGV4dA=="}, "none of WAV"),
        (
            "/continue",
            {"prompt": "rain", "audio_data": "dGV4dA==", "continuation_mode": "x"},
            "continuation_mode: must",
        ),
    ],
)
def test_faults_are_400_with_a_sentence(gary, path, body, text):
    answer = gary.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert text in answer.json()["error"]
    assert "/etc/passwd" not in answer.text


def test_several_faults_are_told_at_once(gary):
    assert len(gary.post("/generate", json={"prompt": 5, "steps": 0}).json()["errors"]) == 2
    assert gary.post("/generate", content=b"[").status_code == 400


def test_the_model_is_loaded_and_freed_on_request(gary):
    assert gary.post("/load").json()["success"]
    again = gary.post("/load").json()
    assert (again["status"], again["sample_rate"]) == ("already_loaded", 44_100)
    assert gary.get("/health").json()["model_loaded"] is True
    assert gary.get("/ready").json() == {"ready": True, "model": "mini"}
    busy = gary.post("/generate", json={"prompt": "rain", "duration": 60, "steps": 50}).json()
    assert gary.post("/unload").status_code == 409
    gary.native.post(f"/v1/jobs/{gary.native.get('/v1/jobs').json()[-1]['id']}/cancel")
    failed = finished(gary, busy["session_id"])
    assert (failed["success"], failed["status"]) == (False, "failed")
    assert "canceled" in failed["error"]
    assert gary.post("/unload").json()["success"]


def test_lists(gary):
    assert gary.get("/loras").json()["loras"] == []
    found = gary.get("/prompts?lora=a,b").json()
    assert found["success"] and found["missing_loras"] == ["a", "b"]
    assert found["prompts"]["dice"]["generic"]


def test_a_job_that_nobody_polls_is_canceled(gary, monkeypatch):
    monkeypatch.setattr(sessions, "UNPOLLED_SECONDS", 0.5)
    monkeypatch.setattr(sessions, "LOOK_SECONDS", 0.1)
    gary.post("/generate", json={"prompt": "rain", "duration": 180, "steps": 100})
    job = gary.native.get("/v1/jobs").json()[-1]["id"]
    for _ in range(600):
        if (state := gary.native.get(f"/v1/jobs/{job}").json()["state"]) == "canceled":
            break
        time.sleep(0.1)
    assert state == "canceled"


def test_a_waiting_job_has_a_place_in_the_queue(gary):
    first, second = (
        gary.post("/generate", json={"prompt": "rain", "duration": 1, "seed": 7, "steps": n}).json() for n in (300, 8)
    )
    found = gary.get(f"/poll_status/{second['session_id']}").json()
    assert found["status"] in ("queued", "generating")
    if found["status"] == "queued":
        assert found["queue_status"]["status"] in ("queued", "warming")
        assert found["queue_status"].get("estimated_seconds", 0) >= 0
        assert found["generation_in_progress"] is True
    finished(gary, first["session_id"])
    assert finished(gary, second["session_id"])["success"]


def test_final_errors_avoid_the_words_by_which_clients_wait():
    assert (
        sessions._final("no Download of the weights") == "the model is not available; the log of the server says more"
    )
    assert sessions._final("too long") == "too long"
