"""Real clients of the dialects against a real server, twice in a row, alone and while another job runs.

Their code is fetched, or installed, and never part of this project: see `tests.fetched`.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import io
import subprocess
import sys
import types
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import httpx
import pytest
import soundfile

from tests.fetched import COMFY, GARY, VLLM, texts

pytestmark = pytest.mark.slow


@contextmanager
def busy(client):
    """Keep the server busy with other jobs, which are canceled at the end."""
    body = {"request": {"prompt": "noise", "seconds": 5.0}, "count": 100, "class": "batch"}
    jobs = [client.post("/v1/jobs", json=body).raise_for_status().json()["id"] for _ in range(6)]
    try:
        yield
        states = [client.get(f"/v1/jobs/{job}").json()["state"] for job in jobs]
        assert "running" in states, "the other jobs have ended, so nothing was tested beside them"
    finally:
        for job in jobs:
            client.post(f"/v1/jobs/{job}/cancel")


@pytest.fixture(params=[lambda _: nullcontext(), busy], ids=["alone", "beside other jobs"])
def other(request):
    """A context for the use of a client: nothing, or jobs that keep the server busy."""
    return request.param


@pytest.fixture(scope="module")
def served(tmp_path_factory, running):
    """A server that runs one clip at a time, so that others wait for no more than that."""
    with running(tmp_path_factory.mktemp("data")) as (client, server):
        run_alone(server)
        yield client, server


def run_alone(server):
    server.dispatcher.settings = replace(server.dispatcher.settings, max_batch=1)


def test_the_loop_smoke_test_of_gary(running, other, tmp_path):
    (script,) = texts(GARY, "smoke-tests/sa3_loop_smoke.py")
    path = tmp_path / "smoke.py"
    path.write_text(script)
    with running(tmp_path / "data", gary=True) as (client, server):
        run_alone(server)
        flags = ["--repeat", "2", "--poll-interval", "0.2", "--output-dir", str(tmp_path)]
        command = [sys.executable, str(path), "--base-url", client.headers["x-gary"], *flags]
        with other(client):
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("drift=+0.000000s") == 2


@pytest.fixture
def comfy(monkeypatch, tmp_path):
    """Two modules of ComfyUI, with stand-ins for what they import."""
    pytest.importorskip("aiohttp", reason="ComfyUI's client needs aiohttp")
    folder = "comfy_api_nodes/apis"
    names = ("client.py", "stability_api.py", "request_logger.py")
    found = texts(COMFY, *(f"{folder}/{name}" for name in names))
    (tmp_path / folder).mkdir(parents=True)
    for name, text in zip(names, found, strict=True):
        (tmp_path / folder / name).write_text(text)
    stand_ins = {
        "server": {"PromptServer": types.SimpleNamespace(instance=None)},
        "comfy": {"__path__": []},
        "comfy.cli_args": {"args": types.SimpleNamespace(comfy_api_base="")},
        "comfy.utils": {},
        "folder_paths": {"get_temp_directory": lambda: str(tmp_path)},
    }
    for name, values in stand_ins.items():
        module = types.ModuleType(name)
        module.__dict__.update(values)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["comfy"].utils = sys.modules["comfy.utils"]
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tuple(importlib.import_module(f"comfy_api_nodes.apis.{name}") for name in ("client", "stability_api"))
    for name in [one for one in sys.modules if one.startswith("comfy_api_nodes")]:
        del sys.modules[name]


def operation(comfy, client, kind, request, files=None):
    """Run an operation of ComfyUI's Stability nodes, as they do."""
    api, stability = comfy
    endpoint = api.ApiEndpoint(
        path=f"/proxy/stability/v2beta/audio/stable-audio-2/{kind}",
        method=api.HttpMethod.POST,
        request_model=type(request),
        response_model=stability.StabilityAudioResponse,
    )
    work = api.SynchronousOperation(
        endpoint=endpoint,
        request=request,
        files=files,
        content_type="multipart/form-data",
        api_base=str(client.base_url),
        auth_kwargs={"comfy_api_key": client.headers["authorization"].partition(" ")[2]},
    )
    return asyncio.run(work.execute())


def test_the_stability_client_of_comfyui(comfy, client, tone, other):
    _, stability = comfy
    common = {"model": "stable-audio-2.5", "prompt": "rain", "seed": 7, "steps": 8}
    mp3 = io.BytesIO()
    data, rate = soundfile.read(io.BytesIO(tone))
    soundfile.write(mp3, data, rate, format="MP3")
    kinds = [
        ("text-to-audio", stability.StabilityTextToAudioRequest(duration=1, **common), False, 1),
        ("audio-to-audio", stability.StabilityAudioToAudioRequest(duration=2, strength=0.5, **common), True, 2),
        ("inpaint", stability.StabilityAudioInpaintRequest(duration=2, mask_start=1, mask_end=2, **common), True, 2),
    ]
    with other(client):
        for _ in range(2):
            for kind, request, is_edit, seconds in kinds:
                files = {"audio": io.BytesIO(mp3.getvalue())} if is_edit else None
                found = operation(comfy, client, kind, request, files)
                assert soundfile.info(io.BytesIO(base64.b64decode(found.audio))).duration == pytest.approx(
                    seconds, abs=0.01
                )
    with pytest.raises(Exception, match="prompt: is required"):
        operation(comfy, client, "text-to-audio", stability.StabilityTextToAudioRequest(**common | {"prompt": ""}))


def test_the_package_of_openai(client, other):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    key = client.headers["authorization"].partition(" ")[2]
    api = openai.OpenAI(base_url=f"{client.base_url}/v1".replace("//v1", "/v1"), api_key=key)
    with other(client):
        for _ in range(2):
            assert "mini" in [model.id for model in api.models.list()]
            options = {"model": "mini", "voice": "alloy", "input": "rain", "extra_body": {"seconds": 1, "seed": 7}}
            speech = api.audio.speech.create(**options)
            assert abs(soundfile.info(io.BytesIO(speech.content)).duration - 1) < 0.1
            assert speech.response.headers["soundloom-ignored"] == "voice"
            with api.audio.speech.with_streaming_response.create(**options, response_format="wav") as stream:
                assert soundfile.info(io.BytesIO(b"".join(stream.iter_bytes()))).frames == 44_100
            body = {"input": "rain", "audio_length": 1}
            raw = api.post("/audio/generate", cast_to=openai.HttpxBinaryResponseContent, body=body)
            assert soundfile.info(io.BytesIO(raw.content)).frames == 44_100
    with pytest.raises(openai.BadRequestError) as found:
        api.audio.speech.create(model="mini", voice="alloy", input="rain", speed=2)
    assert (found.value.param, found.value.type) == ("speed", "BadRequestError")
    with pytest.raises(openai.NotFoundError):
        api.audio.speech.create(model="nothing", voice="alloy", input="rain")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=str(api.base_url), api_key="wrong").audio.speech.create(
            model="mini", voice="alloy", input="rain"
        )


def test_the_package_of_elevenlabs(client, other):
    pytest.importorskip("elevenlabs", reason="the package elevenlabs is not installed")
    from elevenlabs.client import ElevenLabs
    from elevenlabs.core.api_error import ApiError

    url, key = str(client.base_url).rstrip("/"), client.headers["authorization"].partition(" ")[2]
    with httpx.Client(timeout=60) as http, other(client):
        effects = ElevenLabs(base_url=url, api_key=key, httpx_client=http).text_to_sound_effects
        for format, kind in (("mp3_44100_128", "MP3"), ("wav_44100", "WAV"), ("opus_48000_64", "OGG")) * 2:
            options = {"duration_seconds": 1.0, "prompt_influence": 0.5, "model_id": "eleven_text_to_sound_v2"}
            info = soundfile.info(io.BytesIO(b"".join(effects.convert(text="rain", output_format=format, **options))))
            assert info.format == kind and info.duration == pytest.approx(1, abs=0.1)
        loop = b"".join(effects.convert(text="rain", duration_seconds=2, loop=True))
        assert soundfile.info(io.BytesIO(loop)).duration == pytest.approx(2, abs=0.1)
        with pytest.raises(ApiError) as found:
            b"".join(effects.convert(text=""))
        assert found.value.status_code == 400 and "text: is required" in found.value.body["detail"]["message"]
        stranger = ElevenLabs(base_url=url, api_key="wrong", httpx_client=http)
        with pytest.raises(ApiError) as found:
            b"".join(stranger.text_to_sound_effects.convert(text="rain"))
        assert found.value.status_code == 401


@pytest.mark.parametrize("route", ["speech", "generate"])
def test_the_client_of_vllm_omni(client, other, tmp_path, route):
    """It has no setting for a key, so the key is part of the address."""
    pytest.importorskip("requests", reason="vLLM-Omni's client needs requests")
    (script,) = texts(VLLM, "examples/online_serving/stable_audio/stable_audio_client.py")
    (tmp_path / "client.py").write_text(script)
    key = client.headers["authorization"].partition(" ")[2]
    url = client.base_url.join(f"/v1/audio/{route}").copy_with(username="any", password=key)
    flags = ["--text", "rain", "--num_inference_steps", "4", "--seed", "7", "--guidance_scale", "1.5"]
    with other(client):
        for number, seconds in enumerate(("1.0", "2.0")):
            out = tmp_path / f"{number}.wav"
            command = [sys.executable, str(tmp_path / "client.py"), "--api_url", str(url), *flags]
            command += ["--audio_length", seconds, "--output", str(out)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert soundfile.info(out).duration == float(seconds)
    command[command.index("rain")] = ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "input: is required" in done.stdout
