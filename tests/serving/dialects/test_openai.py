"""The routes of OpenAI, vLLM-Omni and ElevenLabs on a real server with `mini`."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

GENERATE = {"input": "rain", "audio_length": 1, "seed": 7}


def generate(client, **fields):
    return client.post("/v1/audio/generate", json=GENERATE | fields)


@pytest.mark.parametrize(
    ("format", "container", "media"),
    [
        ("wav", ("WAV", "PCM_16"), "audio/wav"),
        ("mp3", ("MP3", "MPEG_LAYER_III"), "audio/mpeg"),
        ("flac", ("FLAC", "PCM_24"), "audio/flac"),
        ("opus", ("OGG", "OPUS"), "audio/opus"),
    ],
)
def test_every_format_is_one(client, format, container, media):
    answer = generate(client, response_format=format)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media
    info = soundfile.info(io.BytesIO(answer.content))
    assert (info.format, info.subtype) == container
    assert abs(info.duration - 1) < 0.1


def test_pcm_is_that_of_the_wav_file(client):
    wav = generate(client, negative_prompt="hiss", guidance_scale=1, num_inference_steps=8)
    pcm = generate(client, response_format="pcm")
    assert pcm.headers["content-type"] == "audio/pcm"
    found = np.frombuffer(pcm.content, "<i2").reshape(-1, 2)
    expected, _ = soundfile.read(io.BytesIO(wav.content), dtype="int16")
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert wav.headers["soundloom-seed"] == "7"


@pytest.mark.parametrize(
    ("fields", "status", "kind", "param", "text"),
    [
        ({"input": ""}, 400, "BadRequestError", "input", "is required"),
        ({"input": 5}, 400, "BadRequestError", "input", "must be text"),
        ({"audio_length": "1"}, 400, "BadRequestError", "audio_length", "must be a number"),
        ({"audio_start": 1}, 400, "BadRequestError", "audio_start", "must be 0"),
        ({"speed": 2}, 400, "BadRequestError", "speed", "must be 1"),
        ({"response_format": "aac"}, 400, "BadRequestError", "response_format", "must be one of"),
        ({"stream_format": "sse"}, 400, "BadRequestError", "stream_format", "must be one of"),
        ({"audio_length": 90_000}, 400, "BadRequestError", "audio_length", "must be"),
        ({"model": "nothing"}, 404, "NotFoundError", "model", "no model named"),
        ({"seed": 1.5}, 400, "BadRequestError", "seed", "whole number"),
    ],
)
def test_errors_have_the_shape_of_openai(client, fields, status, kind, param, text):
    answer = generate(client, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, status)
    assert (error["type"], error["param"]) == (kind, param)
    assert text in error["message"]


def test_bodies_that_are_no_objects_are_bad_requests(client):
    for content in (b"{", b"[]", b'{"input": NaN}', b"\xff"):
        assert client.post("/v1/audio/generate", content=content).json()["error"]["code"] == 400
    large = client.post("/v1/audio/generate", content=b'{"input": "' + b"x" * 2**20 + b'"}')
    assert large.json()["error"]["code"] == 413
    assert client.post("/v1/audio/nothing").json()["error"]["type"] == "NotFoundError"
    answer = client.post("/v1/audio/generate", json=GENERATE, headers={"Authorization": "Bearer wrong"})
    assert answer.json()["error"]["type"] == "AuthenticationError"


@pytest.mark.parametrize("seed", [2**53 + 1, 2**62 + 3])
def test_large_seeds_are_exact(client, seed):
    assert generate(client, seed=seed).headers["soundloom-seed"] == str(seed)
    assert generate(client, seed=2**63).json()["error"]["param"] == "seed"


def test_speech_names_the_voice_as_ignored(client):
    body = {"model": "tts-1", "input": "rain", "voice": "alloy", "instructions": "soft", "seconds": 1, "seed": 7}
    answer = client.post("/v1/audio/speech", json=body | {"other": 1})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["soundloom-ignored"] == "other, voice"
    assert client.get("/v1/takes?limit=1").json()["takes"][0]["prompt"] == "rain, soft"
    long = client.post("/v1/audio/speech", json=body | {"input": "x" * 4097})
    assert long.json()["error"]["param"] == "input"


def test_speech_takes_the_options_of_vllm_omni(client):
    body = {"input": "rain", "audio_length": 1, "audio_start": 0.0, "negative_prompt": "hum", "guidance_scale": 2}
    answer = client.post(
        "/v1/audio/speech", json=body | {"num_inference_steps": 3, "seed": 7, "response_format": "wav"}
    )
    assert soundfile.info(io.BytesIO(answer.content)).frames == 44_100
    assert "soundloom-ignored" not in answer.headers
    request = client.get("/v1/takes", params={"limit": 1}).json()["takes"][0]["record"]["request"]
    assert (request["negative_prompt"], request["guidance"]["scale"], request["steps"]) == ("hum", 2, 3)
    assert client.post("/v1/audio/speech", json=body | {"audio_start": 1}).json()["error"]["param"] == "audio_start"


def test_elevenlabs_sound_effects(client):
    token = client.headers["authorization"].partition(" ")[2]
    body = {"text": "rain", "duration_seconds": 1, "prompt_influence": 0.3, "model_id": "eleven_text_to_sound_v2"}
    headers = {"Authorization": "", "xi-api-key": token}
    answer = client.post("/v1/sound-generation", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["soundloom-ignored"] == "prompt_influence, output_format.bitrate"
    assert soundfile.info(io.BytesIO(answer.content)).samplerate == 44_100
    loop = client.post("/v1/sound-generation?output_format=pcm_16000", json=body | {"loop": True}, headers=headers)
    assert len(loop.content) == 16_000 * 2 * 2
    assert client.get("/v1/takes?limit=1").json()["takes"][0]["record"]["request"]["loop"] is True


@pytest.mark.parametrize(
    ("query", "body", "status", "text"),
    [
        ("", {}, 400, "text: is required"),
        ("", {"text": "rain", "duration_seconds": 0.1}, 400, "duration_seconds: must be"),
        ("", {"text": "rain", "prompt_influence": 2}, 400, "prompt_influence: must be 0 to 1"),
        ("?output_format=mp3_1", {"text": "rain"}, 400, "output_format: must be such as"),
        ("?output_format=x", {"text": "rain"}, 400, "output_format: must be such as"),
        ("", {"text": "rain", "model_id": "nothing"}, 404, "no model named"),
    ],
)
def test_errors_have_the_shape_of_elevenlabs(client, query, body, status, text):
    answer = client.post(f"/v1/sound-generation{query}", json=body)
    assert answer.status_code == status
    assert text in answer.json()["detail"]["message"]
