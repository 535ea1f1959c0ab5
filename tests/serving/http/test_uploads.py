"""Uploads over HTTP."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
import soundfile

from soundloom.serving.http import guard
from tests.serving.http.test_jobs import submit


def sound(seconds=1.0, rate=48000, form="WAV"):
    file = io.BytesIO()
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), 1))
    soundfile.write(file, audio, rate, format=form)
    return file.getvalue()


def upload(client, data, name="take 1.wav"):
    return client.post("/v1/uploads", files={"file": (name, data)})


def test_an_uploaded_file_is_the_source_of_a_job(client):
    answer = upload(client, sound())
    assert answer.status_code == 201
    found = answer.json()
    assert (found["rate"], found["channels"], found["samples"], found["name"]) == (48000, 1, 48_000, "take 1.wav")
    body = {"kind": "extend", "source": found["id"], "request": {"prompt": "rain", "seconds": 2.0}}
    done = submit(client, body, Prefer="wait=60").json()
    assert done["state"] == "succeeded"
    take = client.get(f"/v1/takes/{done['items'][0]['take']}").json()
    assert (take["audio"]["rate"], take["audio"]["samples"], take["parent"]) == (48000, 96_000, None)


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 415), (b"just a text", 415), (sound()[:40], 415), (b"RIFF\xff\xff\xff\xffWAVE" + b"\0" * 100, 415)],
)
def test_what_is_no_audio_is_refused(client, data, status):
    answer = upload(client, data)
    assert answer.status_code == status and answer.json()["detail"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "CON", "a" * 500, "\u202egpj.wav", "<img onerror=x>.wav"])
def test_names_are_for_display_only(client, name):
    found = upload(client, sound(0.1), name).json()
    assert len(found["name"]) <= 120 and not set(found["name"]) & set("/\\<>\u202e")


def test_bodies_have_a_limit_by_header_and_while_they_arrive(client, monkeypatch):
    monkeypatch.setattr(guard, "MAX_BODY_BYTES", 1 << 20)
    large = b"\0" * (3 << 20)
    assert upload(client, large).status_code == 413
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    def stream():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(48):
            yield b"\0" * (1 << 16)

    try:
        answer = client.post("/v1/uploads", content=stream(), headers=headers)
    except httpx.TransportError:  # the server closes the connection when it has had enough
        return
    assert answer.status_code == 413
    assert client.post("/v1/check", json={"request": {"prompt": "rain"}}).status_code == 200


def test_forms_have_one_file_and_few_fields(client):
    assert client.post("/v1/uploads").status_code == 422
    assert client.post("/v1/uploads", data={"file": "text"}).status_code == 422
    many = [("file", (f"{number}.wav", b"x")) for number in range(2000)]
    assert client.post("/v1/uploads", files=many).status_code == 400


def test_an_upload_answers_with_the_record_in_its_tags_and_can_be_fetched(client):
    done = submit(client, {"request": {"prompt": "rain", "seconds": 1.0, "seed": 7}}, Prefer="wait=60").json()
    file = client.get(f"/v1/takes/{done['items'][0]['take']}/audio", params={"format": "flac"}).content
    found = upload(client, file, "rain.flac").json()
    assert (found["record"]["request"]["prompt"], found["record"]["seed"]) == ("rain", 7)
    wav = client.get(f"/v1/uploads/{found['id']}/audio", params={"subtype": "float"})
    assert soundfile.info(io.BytesIO(wav.content)).subtype == "FLOAT"
    assert wav.headers["content-type"] == "audio/wav"
    ranged = client.get(f"/v1/uploads/{found['id']}/audio", headers={"Range": "bytes=0-3"})
    assert (ranged.status_code, ranged.content) == (206, b"RIFF")
    assert upload(client, sound(0.1)).json()["record"] == {}
    missing = client.get("/v1/uploads/nothing/audio")
    assert missing.status_code == 404 and "upload the file again" in missing.json()["hint"]


def test_a_take_gets_only_its_own_file_back(served):
    client, server = served
    stored = upload(client, sound(0.1, 8000)).json()["id"]
    take = client.post("/v1/takes", json={"upload": stored}).json()["id"]
    path = server.store.path(stored)
    data = path.read_bytes()
    path.unlink()
    refused = client.put(f"/v1/takes/{take}/file", files={"file": ("other.wav", data[:-1])})
    assert (refused.status_code, refused.json()["detail"]) == (422, "other.wav is not the file of this take")
    assert client.get(f"/v1/takes/{take}/audio").status_code == 404
    found = client.put(f"/v1/takes/{take}/file", files={"file": ("a backup.wav", data)})
    assert (found.status_code, found.json()["audio"]["missing"]) == (200, False)
    assert client.get(f"/v1/takes/{take}/audio").content == data
