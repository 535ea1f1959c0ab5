"""A server as its user meets it: killed workers, a killed server, canceling, and what its log tells."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from tests.serving.test_durability import children
from tests.serving.test_serve import log_of, serving, token
from tests.serving.worker.test_worker import is_alive

QUICK = {"request": {"prompt": "rain", "seconds": 0.3, "steps": 1}}
SLOW = {"request": {"prompt": "secretive waterfalls", "seconds": 1, "steps": 300, "sampler": "euler", "seed": 3}}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs the /proc of Linux"),
]


def client_of(url, folder):
    return httpx.Client(base_url=url, headers=token(folder), timeout=60)


def worker_of(process):
    """Return the process that runs models."""
    return next(pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


def wait_until(client, job, states, seconds=60):
    """Wait until a job has one of these states and, if it runs, has taken a step."""
    deadline = time.monotonic() + seconds
    while (found := client.get(f"/v1/jobs/{job}").json())["state"] not in states or (
        found["state"] == "running" and not found["progress"]
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def newest_event(client):
    with client.stream("GET", "/v1/events") as answer:
        return next(int(line[4:]) for line in answer.iter_lines() if line.startswith("id: "))


def test_a_killed_worker_neither_stops_the_server_nor_changes_the_clip(tmp_path):
    with serving(tmp_path) as (process, url, _), client_of(url, tmp_path) as client:
        clips = []
        for kills in (0, 1):
            job = client.post("/v1/jobs", json=SLOW).json()["id"]
            wait_until(client, job, ["running"])
            if kills:
                os.kill(worker_of(process), signal.SIGKILL)
                start = time.monotonic()
                for path in ("/health", "/v1/jobs", "/v1/takes", "/v1/system"):
                    assert client.get(path).status_code == 200
                assert time.monotonic() - start < 1
            done = client.get(f"/v1/jobs/{job}?wait=60").json()
            assert (done["state"], done["attempt"]) == ("succeeded", kills)
            file = client.get(f"/v1/takes/{done['items'][0]['take']}/audio").content
            clips.append(soundfile.read(io.BytesIO(file), dtype="float32")[0])
        assert np.array_equal(*clips)


def test_a_killed_server_takes_its_worker_along_and_goes_on_where_it_was(tmp_path):
    with serving(tmp_path) as (process, url, _), client_of(url, tmp_path) as client:
        made = client.post("/v1/jobs", json=QUICK, headers={"Prefer": "wait=60"}).json()
        job, waiting = (client.post("/v1/jobs", json=body).json()["id"] for body in (SLOW, QUICK))
        wait_until(client, job, ["running"])
        last, worker = newest_event(client), worker_of(process)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 5
        while is_alive(worker):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with serving(tmp_path) as (_, url, _), client_of(url, tmp_path) as client:
        assert newest_event(client) >= last
        done = client.get(f"/v1/jobs/{job}?wait=60").json()
        assert (done["state"], done["attempt"]) == ("succeeded", 1)
        assert client.get(f"/v1/jobs/{waiting}?wait=60").json()["state"] == "succeeded"
        takes = {take["id"] for take in client.get("/v1/takes").json()["takes"]}
        assert len(takes) == 3 and made["items"][0]["take"] in takes


def test_jobs_are_canceled_at_once_and_leave_nothing(tmp_path):
    with serving(tmp_path) as (_, url, _), client_of(url, tmp_path) as client:
        running = client.post("/v1/jobs", json=SLOW).json()["id"]
        other = client.post("/v1/jobs", json=QUICK).json()["id"]
        wait_until(client, running, ["running"])
        times = []
        for _ in range(10):
            job, start = client.post("/v1/jobs", json=QUICK).json()["id"], time.monotonic()
            assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "canceled"
            times.append(time.monotonic() - start)
        assert min(times) < 0.1
        start = time.monotonic()
        client.post(f"/v1/jobs/{running}/cancel")
        assert wait_until(client, running, ["canceled"])["items"][0]["take"] is None
        assert time.monotonic() - start < 3  # a step and a second, on a machine that does other things too
        assert client.get(f"/v1/jobs/{other}?wait=60").json()["state"] == "succeeded"
        assert client.get("/v1/takes").json()["count"] == 1
        objects = [path for path in (tmp_path / "library" / "objects").rglob("*") if path.is_file()]
        assert len(objects) == 1


def test_the_log_holds_neither_tokens_nor_prompts(tmp_path):
    with serving(tmp_path) as (_, url, _), client_of(url, tmp_path) as client:
        body = {"request": {**QUICK["request"], "prompt": "unheard-of whispers"}}
        done = client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
        take = client.get(f"/v1/takes/{done['items'][0]['take']}").json()
        assert "unheard" in str(take["record"]["warnings"])
        assert httpx.get(f"{url}/v1/jobs", headers={"X-API-Key": "a-wrong-token-of-somebody"}).status_code == 401
        client.post("/v1/jobs", json={"request": {"prompt": "unheard-of", "steps": 0}})
        text = log_of(tmp_path).read_text()
        for secret in (token(tmp_path)["Authorization"].split()[1], "a-wrong-token", "unheard", "whispers"):
            assert secret not in text
