"""Measure takes over HTTP."""

from __future__ import annotations

import pytest

from soundloom.audio.clip import Clip


@pytest.fixture(scope="module")
def take(served):
    client, _ = served
    body = {"request": {"prompt": "kick drum loop, 120 BPM", "seconds": 4, "seed": 3}}
    job = client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
    assert "items" in job, job
    return job["items"][0]["take"]


def test_it_is_what_the_clip_measures(served, take):
    client, server = served
    found = client.get(f"/v1/takes/{take}/measure").json()
    file = server.store.path(client.get(f"/v1/takes/{take}").json()["audio"]["id"])
    assert found == Clip.load(file).measure().to_json()
    assert abs(found["tempo"] - 120) < 5  # mini does not keep time exactly


def test_it_is_measured_once(served, take, monkeypatch):
    client, _ = served
    first = client.get(f"/v1/takes/{take}/measure").json()
    monkeypatch.setattr("soundloom.audio.clip.Clip.measure", None)
    assert client.get(f"/v1/takes/{take}/measure").json() == first


def test_an_unknown_take_is_refused(served):
    assert served[0].get("/v1/takes/nothing/measure").status_code == 404
