"""Stability's routes on a real server with `mini`."""

from __future__ import annotations

import base64
import io
import re
import time
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile

from tests.serving.watching import wait_for

SYNC = "/v2beta/audio/stable-audio-2"
ASYNC = "/v2beta/audio/stable-audio"
FIELDS = {"prompt": "rain", "duration": "1", "seed": "7", "output_format": "wav"}


def post(client, kind, fields=FIELDS, *, audio=None, base=SYNC, headers=None):
    files = {"audio": ("audio", audio, "application/octet-stream")} if audio is not None else {"none": ("", b"")}
    return client.post(f"{base}/{kind}", data=fields, files=files, headers=headers or {})


def samples(data):
    return soundfile.read(io.BytesIO(data), always_2d=True)


def test_text_becomes_bytes(client):
    answer = post(client, "text-to-audio", headers={"Accept": "audio/*"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/wav"
    assert (answer.headers["finish-reason"], answer.headers["seed"]) == ("SUCCESS", "7")
    assert answer.headers["x-request-id"]
    audio, rate = samples(answer.content)
    assert (audio.shape, rate) == ((44_100, 2), 44_100)
    assert soundfile.info(io.BytesIO(answer.content)).subtype == "PCM_16"
    again = post(client, "text-to-audio")
    assert np.array_equal(samples(again.content)[0], audio)


def test_json_is_answered_if_it_is_accepted(client):
    fields = FIELDS | {"seed": "0", "output_format": "mp3", "style": "loud", "cfg_scale": "1", "steps": "4"}
    answer = post(client, "text-to-audio", fields, headers={"Accept": "application/json"})
    found = answer.json()
    assert found["finish_reason"] == "SUCCESS"
    assert 0 < found["seed"] <= 2**32 - 2
    assert "seed" not in answer.headers and "finish-reason" not in answer.headers
    assert found["ignored"] == ["style"] and answer.headers["soundloom-ignored"] == "style"
    assert soundfile.info(io.BytesIO(base64.b64decode(found["audio"]))).format == "MP3"
    same = fields | {"seed": str(found["seed"])}
    again = post(client, "text-to-audio", same, headers={"Accept": "application/json"}).json()
    assert again["audio"] == found["audio"]


def test_urlencoded_forms_and_the_prefix_of_comfyui_work(client):
    answer = client.post("/proxy/stability/v2beta/audio/stable-audio-2/text-to-audio", data=FIELDS)
    assert answer.status_code == 200, answer.text
    assert samples(answer.content)[0].shape[0] == 44_100


@pytest.mark.parametrize(
    ("fields", "seconds", "kinds"),
    [
        ({"duration": "", "strength": "0.5"}, 1.0, ["vary"]),
        ({"duration": "0.5", "strength": "0.5"}, 0.5, ["vary"]),
        ({"duration": "1.5", "strength": "1", "model": "stable-audio-2.5"}, 1.5, ["vary", "extend"]),
        ({"duration": "1", "strength": "0"}, 1.0, ["vary"]),
        ({"duration": "1.5", "strength": "0"}, 1.5, ["extend"]),
    ],
)
def test_audio_is_varied_and_as_long_as_asked(client, tone, fields, seconds, kinds):
    answer = post(client, "audio-to-audio", FIELDS | fields, audio=tone)
    assert answer.status_code == 200, answer.text
    audio, _ = samples(answer.content)
    assert len(audio) == round(44_100 * seconds)
    takes = client.get("/v1/takes", params={"limit": len(kinds)}).json()["takes"]
    assert [take["kind"] for take in takes][::-1] == kinds
    if fields["strength"] == "0":
        source = samples(tone)[0][:, 0]
        assert np.array_equal(audio[: len(source), 0], source)


def test_only_the_mask_changes(client, tone):
    answer = post(client, "inpaint", FIELDS | {"mask_start": "0.25", "mask_end": "190"}, audio=tone)
    assert answer.status_code == 200, answer.text
    audio, source = samples(answer.content)[0][:, 0], samples(tone)[0][:, 0]
    assert len(audio) == len(source)
    assert np.abs(audio[:10_000] - source[:10_000]).max() < 1e-4
    assert np.abs(audio[20_000:] - source[20_000:]).max() > 0.01


def test_masks_may_be_repeated(client, tone):
    fields = FIELDS | {"mask_start": ["0.1", "0.6"], "mask_end": ["0.2", "0.7"]}
    assert post(client, "inpaint", fields, audio=tone).status_code == 200
    take = client.get("/v1/takes", params={"limit": 1}).json()["takes"][0]
    assert take["record"]["request"]["regions"] == [[0.1, 0.2], [0.6, 0.7]]


@pytest.mark.parametrize(
    ("kind", "fields", "audio", "status", "name", "text"),
    [
        ("text-to-audio", {"duration": "1"}, None, 400, "bad_request", "prompt: is required"),
        ("text-to-audio", FIELDS | {"prompt": "x" * 10_001}, None, 400, "bad_request", "prompt: must have at most"),
        ("text-to-audio", FIELDS | {"duration": "long"}, None, 400, "bad_request", "duration: must be a number"),
        ("text-to-audio", FIELDS | {"duration": "nan"}, None, 400, "bad_request", "duration: must be a number"),
        ("text-to-audio", FIELDS | {"duration": "-1"}, None, 400, "bad_request", "duration: must be 0.01 to"),
        ("text-to-audio", FIELDS | {"seed": "4294967295"}, None, 400, "bad_request", "seed: must be 0 to"),
        ("text-to-audio", FIELDS | {"seed": "1.5"}, None, 400, "bad_request", "seed: must be a whole number"),
        ("text-to-audio", FIELDS | {"steps": "0"}, None, 400, "bad_request", "steps: must be 1 to"),
        ("text-to-audio", FIELDS | {"output_format": "aac"}, None, 400, "bad_request", "output_format: must be one"),
        ("text-to-audio", FIELDS | {"model": "nothing"}, None, 400, "bad_request", "model: there is no model"),
        ("text-to-audio", FIELDS | {"model": "../etc"}, None, 400, "bad_request", "model: there is no model"),
        ("audio-to-audio", FIELDS, None, 400, "bad_request", "audio: is required, as a file"),
        ("audio-to-audio", FIELDS, b"text", 400, "bad_request", "audio: the uploaded file is none of"),
        ("audio-to-audio", FIELDS, b"", 400, "bad_request", "audio: "),
        ("audio-to-audio", FIELDS | {"strength": "2"}, b"text", 400, "bad_request", "strength: must be 0 to 1"),
        ("inpaint", FIELDS | {"mask_start": "-1"}, b"text", 400, "bad_request", "mask_start: must be 0 or more"),
    ],
)
def test_faults_name_their_field(client, kind, fields, audio, status, name, text):
    answer = post(client, kind, fields, audio=audio)
    found = answer.json()
    assert (answer.status_code, found["name"]) == (status, name)
    assert re.fullmatch("[0-9a-f]{64}", found["id"])
    assert any(text in error for error in found["errors"]), found


def test_all_faults_are_told_at_once(client):
    assert len(post(client, "text-to-audio", {"duration": "x", "seed": "y"}).json()["errors"]) == 3


def test_a_region_outside_the_clip_is_unprocessable(client, tone):
    answer = post(client, "inpaint", FIELDS | {"mask_start": "30"}, audio=tone)
    assert (answer.status_code, answer.json()["name"]) == (422, "unprocessable")


def test_clients_without_a_key_and_unknown_paths_get_the_same_shape(client):
    answer = client.post(f"{SYNC}/text-to-audio", data=FIELDS, headers={"Authorization": ""})
    assert (answer.status_code, answer.json()["name"]) == (401, "unauthorized")
    assert client.post(f"{SYNC}/sing").json()["name"] == "not_found"
    key = {"Authorization": "", "X-API-Key": client.headers["authorization"].partition(" ")[2]}
    assert client.post(f"{SYNC}/text-to-audio", data=FIELDS, headers=key).status_code == 200


def test_bodies_beyond_the_limit_are_refused(client):
    answer = post(client, "audio-to-audio", audio=bytes(51 * 2**20))
    assert (answer.status_code, answer.json()["name"]) == (413, "payload_too_large")


def test_forms_with_many_or_long_fields_are_refused(client):
    many = post(client, "text-to-audio", FIELDS | {f"f{number}": "x" for number in range(10_000)})
    assert (many.status_code, many.json()["name"]) == (400, "bad_request")
    long = post(client, "text-to-audio", FIELDS | {"other": "x" * 100_000})
    assert (long.status_code, long.json()["name"]) == (400, "bad_request")
    typeless = client.post(f"{SYNC}/text-to-audio", json=FIELDS)
    assert typeless.json()["errors"] == ["content-type: must be multipart/form-data"]


def test_an_idempotency_key_makes_repeats_one_job(client):
    fields = FIELDS | {"seed": "0"}
    first, second = (post(client, "text-to-audio", fields, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.headers["seed"] == second.headers["seed"]
    other = post(client, "text-to-audio", fields | {"prompt": "wind"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422


def test_a_client_that_hangs_up_cancels_its_job(served):
    client, _ = served

    def jobs():
        return {job["id"]: job["state"] for job in client.get("/v1/jobs").json()}

    before = jobs()
    content_type = "application/x-www-form-urlencoded"
    headers = {"Authorization": client.headers["Authorization"], "Content-Type": content_type}
    with closing(HTTPConnection(client.base_url.host, client.base_url.port)) as connection:
        body = urlencode(FIELDS | {"duration": "180", "steps": "100"})
        connection.request("POST", f"{SYNC}/text-to-audio", body, headers)
        (job,) = wait_for(lambda: jobs().keys() - before)
    wait_for(lambda: jobs()[job] == "canceled")


@pytest.mark.parametrize("path", ["/v2beta/audio/results", "/v2beta/results", "/proxy/stability/v2beta/audio/results"])
def test_the_asynchronous_family_answers_with_an_id(client, tone, path):
    fields = FIELDS | {"model": "stable-audio-3", "duration": "1.5"}
    accepted = post(client, "audio-to-audio", fields, audio=tone, base=ASYNC)
    assert accepted.status_code == 202
    id = accepted.json()["id"]
    assert re.fullmatch("[0-9a-f]{64}", id)
    for _ in range(300):
        answer = client.get(f"{path}/{id}", headers={"Accept": "audio/*"})
        if answer.status_code != 202:
            break
        assert answer.json() == {"id": id, "status": "in-progress"}
        time.sleep(0.1)
    assert answer.status_code == 200
    assert len(samples(answer.content)[0]) == 66_150
    assert client.get(f"{path}/{id}", headers={"Accept": "application/json"}).json()["seed"] == 7


def test_unknown_results_are_not_found(client):
    answer = client.get(f"/v2beta/audio/results/{'0' * 64}")
    assert (answer.status_code, answer.json()["name"]) == (404, "not_found")
    assert post(client, "text-to-audio", {}, base=ASYNC).json()["errors"] == ["prompt: is required"]
