"""Models and figures over HTTP."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.serving.http.test_jobs import BODY, submit
from tests.serving.watching import wait_for


def mini(client):
    return next(one for one in client.get("/v1/models").json()["data"] if one["id"] == "mini")


def test_a_model_is_loaded_and_freed(client):
    assert client.post("/v1/models/mini/load").status_code == 202
    wait_for(lambda: mini(client)["loaded"])
    assert client.post("/v1/models/mini/unload").status_code == 202
    wait_for(lambda: not mini(client)["loaded"])
    assert submit(client, Prefer="wait=60").json()["state"] == "succeeded"


def test_a_model_is_checked(client):
    assert client.post("/v1/models/mini/verify").status_code == 202
    task = wait_for(lambda: (one := mini(client)["task"]) and one["state"] != "running" and one)
    assert (task["state"], task["result"]["faults"]) == ("succeeded", [])


def test_models_are_described(client):
    found = {one["id"]: one for one in client.get("/v1/models").json()["data"]}
    assert found["mini"]["installed"] and not found["small-music"]["installed"]
    assert found["small-music"]["bytes"] > 10**9 and found["small-music"]["removable"] == 0
    assert found["mini"]["memory"] < 10**9 < found["small-music"]["memory"] < found["medium"]["memory"] < 2 * 10**10
    (device,) = client.get("/v1/system").json()["devices"]
    assert device["memory"] > 10**9
    assert "large" not in found and "same-s" not in found


def test_what_cannot_be_downloaded_is_refused(client):
    refused = client.post("/v1/models/small-music/pull")
    assert (refused.status_code, refused.json()["type"]) == (403, "license-error")
    assert "Stability" in client.get("/v1/models/small-music/license").json()["terms"]
    for action in ("pull", "load", "unload", "verify"):
        assert client.post(f"/v1/models/no-such-model/{action}").status_code == 404
    assert client.post("/v1/models/small-music/load").json()["detail"] == "small-music is not downloaded"
    assert submit(client, BODY | {"model": "small-music"}).status_code == 404
    assert client.post("/v1/check", json=BODY | {"model": "small-music"}).status_code == 200


def test_figures_parse_and_tell_nothing_private(client):
    submit(client, BODY | {"request": {"prompt": "a secret prompt, rain", "seconds": 1}}, Prefer="wait=60")
    answer = client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    jobs = [one for one in families["soundloom_jobs"].samples if one.labels.get("state") == "succeeded"]
    assert jobs and jobs[0].labels["model"] == "mini"
    routes = {one.labels["route"] for one in families["soundloom_http_seconds"].samples}
    assert "/v1/jobs" in routes and not any("secret" in route for route in routes)
    assert "secret" not in answer.text
