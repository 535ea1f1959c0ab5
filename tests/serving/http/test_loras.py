"""Adapters that clients send to a server that accepts them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from soundloom.config.catalogue import require_entry
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import module_shapes
from soundloom.testing.adapters import make_adapter
from tests.serving.http.conftest import running


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return the bytes of an adapter that fits mini."""
    path = tmp_path_factory.mktemp("adapter") / "mine.safetensors"
    write_adapter(path, make_adapter(module_shapes(require_entry("mini").parsed_config()), "lora", 1))
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_LORAS", str(tmp_path / "loras"))
    return tmp_path / "loras"


@pytest.fixture
def client(folder, tmp_path):
    with running(tmp_path / "data", lora_uploads=True, users={"anna": "a-token-of-anna"}) as (client, _):
        yield client


def send(client, name, data):
    return client.post("/v1/loras", files={"file": (name, data, "application/octet-stream")})


def names(client):
    return [one["name"] for one in client.get("/v1/loras").json()["loras"]]


def test_an_adapter_is_listed_at_once_and_kept_once(client, folder, data):
    assert client.get("/v1/system").json()["lora_uploads"]
    sent = send(client, "../my voice.safetensors", data)
    assert (sent.status_code, sent.json()["name"], sent.json()["fits"]) == (201, "my voice", ["mini"])
    assert send(client, "my voice.safetensors", data).json() == sent.json()
    assert names(client) == ["my voice"]
    assert [path.name for path in folder.iterdir()] == ["my voice.safetensors"]


def test_another_adapter_of_the_same_name_gets_a_number(client, folder, data):
    folder.mkdir()
    (folder / "mine.safetensors").write_bytes(b"another")
    assert send(client, "mine.safetensors", data).json()["name"] == "mine-2"


def sound():
    file = io.BytesIO()
    soundfile.write(file, np.zeros(100), 44100, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "text"),
    [
        ("voice.pt", lambda data: data, "voice.pt is not a safetensors file"),
        ("voice.safetensors", lambda data: sound(), "voice.safetensors is not a safetensors file"),
        ("voice.safetensors", lambda data: b"", "voice.safetensors is not a safetensors file"),
        ("voice.safetensors", lambda data: data[:-5], "voice.safetensors"),
    ],
)
def test_what_is_no_adapter_is_refused_in_a_sentence(client, folder, data, name, make, text):
    refused = send(client, name, make(data))
    assert refused.status_code == 422 and text in refused.json()["detail"]
    assert "objects" not in refused.text and "\n" not in refused.json()["detail"]
    assert names(client) == [] and not list(folder.glob("*"))


def test_only_who_runs_the_server_sends_adapters(client, data):
    headers = {"Authorization": "Bearer a-token-of-anna"}
    assert client.post("/v1/loras", files={"file": ("a.safetensors", data)}, headers=headers).status_code == 403
    assert not client.get("/v1/system", headers=headers).json()["lora_uploads"]


def test_a_server_accepts_none_by_default(folder, tmp_path, data):
    with running(tmp_path / "data") as (client, _):
        refused = send(client, "a.safetensors", data)
        assert (refused.status_code, refused.json()["detail"]) == (403, "this server accepts no adapters")
        assert not client.get("/v1/system").json()["lora_uploads"]
