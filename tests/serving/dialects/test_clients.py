"""Real clients of the dialects against a real server. Their code is fetched, or installed, and never part of this one.

SOUNDLOOM_CLIENTS names a folder with git repositories `OWNER+NAME`, or `OWNER+NAME/repo`, of gary's and ComfyUI's code.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import io
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import soundfile

GARY, COMFY = "betweentwomidnights/gary-localhost-installer", "Comfy-Org/ComfyUI"


def fetched(repository, *paths):
    """Return the text of files of a repository, or skip."""
    folder = os.environ.get("SOUNDLOOM_CLIENTS")
    if not folder:
        pytest.skip(f"SOUNDLOOM_CLIENTS names no folder with a copy of {repository}")
    place = Path(folder) / repository.replace("/", "+")
    place = place / "repo" if (place / "repo").is_dir() else place
    if not place.is_dir():
        pytest.skip(f"{folder} has no copy of {repository}")
    shown = (["git", "-C", str(place), "show", f"HEAD:{path}"] for path in paths)
    return [subprocess.run(one, capture_output=True, text=True, check=True).stdout for one in shown]


def test_the_loop_smoke_test_of_gary(running, tmp_path):
    (script,) = fetched(GARY, "smoke-tests/sa3_loop_smoke.py")
    path = tmp_path / "smoke.py"
    path.write_text(script)
    with running(tmp_path / "data", gary=True) as (client, _):
        flags = ["--repeat", "2", "--poll-interval", "0.2", "--output-dir", str(tmp_path)]
        done = subprocess.run(
            [sys.executable, str(path), "--base-url", client.headers["x-gary"], *flags],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("drift=+0.000000s") == 2


@pytest.fixture
def comfy(monkeypatch, tmp_path):
    """Two modules of ComfyUI, with stand-ins for what they import."""
    pytest.importorskip("aiohttp", reason="ComfyUI's client needs aiohttp")
    folder = "comfy_api_nodes/apis"
    names = ("client.py", "stability_api.py", "request_logger.py")
    texts = fetched(COMFY, *(f"{folder}/{name}" for name in names))
    (tmp_path / folder).mkdir(parents=True)
    for name, text in zip(names, texts, strict=True):
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


def test_the_stability_client_of_comfyui(comfy, client, tone):
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
    for _ in range(2):
        for kind, request, is_edit, seconds in kinds:
            files = {"audio": io.BytesIO(mp3.getvalue())} if is_edit else None
            found = operation(comfy, client, kind, request, files)
            assert soundfile.info(io.BytesIO(base64.b64decode(found.audio))).duration == pytest.approx(
                seconds, abs=0.01
            )
    with pytest.raises(Exception, match="prompt: is required"):
        operation(comfy, client, "text-to-audio", stability.StabilityTextToAudioRequest(**common | {"prompt": ""}))


def test_the_package_of_openai(client):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    key = client.headers["authorization"].partition(" ")[2]
    api = openai.OpenAI(base_url=f"{client.base_url}/v1".replace("//v1", "/v1"), api_key=key)
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
