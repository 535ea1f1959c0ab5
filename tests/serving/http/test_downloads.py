"""Downloads of models that are paused, resumed and stopped, and models that are removed, with a hub on this machine."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest

from soundloom.checkpoints.hub.transfer import partial_files
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.entries import RemoteFile
from soundloom.serving.models import Models, ModelStateError
from soundloom.testing.stable_audio import make_random
from tests.checkpoints.hub_server import point_client_at, serve
from tests.serving.http.conftest import running
from tests.serving.http.test_jobs import BODY, submit
from tests.serving.http.test_models import wait_for

NAME = "small-music"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the files of a tiny model by their names."""
    folder = make_random(NAME, tmp_path_factory.mktemp("models") / NAME, layout="published", size="tiny")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(monkeypatch, tmp_path, files):
    """Return a hub with that model in place of the one of the catalogue."""
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    entry = CATALOGUE[NAME]
    source = replace(entry.sources[0], files=tuple(RemoteFile(name, len(data)) for name, data in files.items()))
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, sources=(source,)))
    with serve() as server:
        point_client_at(server.url, monkeypatch)
        server.repos[source.repo] = files
        yield server
        server.go_on.set()


@pytest.fixture
def client(hub, tmp_path):
    with running(tmp_path / "data") as (client, _):
        yield client


def model(client):
    return next(one for one in client.get("/v1/models").json()["data"] if one["id"] == NAME)


def post(client, action, **body):
    return client.post(f"/v1/models/{NAME}/{action}", **({"json": body} if body else {}))


def begin(client, hub, files):
    """Begin a download whose second half comes slowly, and wait for a part of the weights."""
    hub.slow_after = len(files[WEIGHTS]) // 2
    assert post(client, "pull", accept_license=True).status_code == 202
    wait_for(lambda: any(part.stat().st_size for part in partial_files(CATALOGUE[NAME].repo)))


def end(client):
    return wait_for(lambda: (task := model(client)["task"]) and task["state"] != "running" and task)


def pause(client, total):
    paused = post(client, "pause")
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert 0 < paused.json()["done"] < total
    return paused.json()


def test_a_download_is_paused_resumed_and_removed(client, hub, files):
    total = sum(map(len, files.values()))
    begin(client, hub, files)
    found = pause(client, total)
    assert model(client)["task"] == found and not model(client)["installed"]
    hub.slow_after = None
    assert post(client, "resume").status_code == 202
    assert end(client)["state"] == "succeeded"
    ranges = [one for one in hub.requests if one.startswith("GET") and "bytes=" in one]
    assert len(ranges) == 1 and not ranges[0].endswith("bytes=0-")
    assert (model(client)["installed"], model(client)["removable"]) == (True, total)
    assert all(post(client, action).status_code == 409 for action in ("pause", "resume", "stop"))
    removed = client.delete(f"/v1/models/{NAME}")
    assert (removed.status_code, removed.json()) == (200, {"model": NAME, "bytes": total})
    assert (model(client)["installed"], model(client)["task"]) == (False, None)
    (made,) = client.get("/v1/kept").json()["downloads"]  # the connection was made all the same
    assert (made["model"], made["repository"], made["files"]) == (NAME, CATALOGUE[NAME].repo, 0)
    assert made["time"] > 10**9
    assert client.delete(f"/v1/models/{NAME}").status_code == 409
    assert submit(client, BODY | {"model": NAME}).status_code == 404


def test_a_paused_download_outlives_the_server_and_can_be_stopped(hub, files, tmp_path):
    with running(tmp_path / "data") as (client, _):
        begin(client, hub, files)
        found = pause(client, sum(map(len, files.values())))
    with running(tmp_path / "data") as (client, _):
        assert model(client)["task"] == found
        stopped = post(client, "stop")
        assert (stopped.status_code, stopped.json()) == (200, {"model": NAME, "bytes": found["done"]})
        assert model(client)["task"] is None and not partial_files(CATALOGUE[NAME].repo)


def test_a_running_download_is_stopped(client, hub, files):
    begin(client, hub, files)
    assert post(client, "stop").json()["bytes"] > 0
    assert model(client)["task"] is None and not partial_files(CATALOGUE[NAME].repo)


def test_the_included_model_stays(client):
    refused = client.delete("/v1/models/mini")
    assert (refused.status_code, refused.json()["detail"]) == (409, "mini was not downloaded, so it stays")
    assert client.delete("/v1/models/no-such-model").status_code == 404


def test_a_model_that_a_job_uses_stays(hub, client):
    assert post(client, "pull", accept_license=True).status_code == 202
    assert end(client)["state"] == "succeeded"
    queue = {"a": SimpleNamespace(running={0}, job=SimpleNamespace(model=f"{NAME}@published"))}
    settings = SimpleNamespace(sources={}, allowed=())
    used = Models(SimpleNamespace(queue=queue, devices=[], settings=settings))
    with ThreadPoolExecutor(1) as other, pytest.raises(ModelStateError, match=f"a job is using {NAME}"):
        other.submit(asyncio.run, used.remove(NAME)).result()  # a browser may have a loop in this thread
    assert model(client)["installed"]
