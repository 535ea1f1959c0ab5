"""A disk that is full, or cannot be written, fails what it must, with the reason, and nothing else."""

from __future__ import annotations

import errno
import sqlite3
import sys
import time
from functools import partial

import httpx
import pytest

from soundloom.atomic import HINTS
from soundloom.serving.jobs import device
from soundloom.serving.storage.objects import ObjectStore
from tests.serving.http.conftest import running
from tests.serving.test_durability import check
from tests.serving.test_output import generate
from tests.serving.test_serve import serving, token

BODY = {"request": {"prompt": "rain", "seconds": 0.3, "steps": 2}, "count": 2}
WAIT = {"Prefer": "wait=60"}
MIB = 2**20


def fill(server):
    """Let the database grow no more, and use up what is free in it."""

    def stop_growth(connection):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def use(connection, size):
        query = "INSERT INTO events (kind, data, made) VALUES ('noise', hex(zeroblob(?)), 9e9)"
        connection.execute(query, (size,))

    server.database.run(stop_growth).result()
    for size in (10_000, 1000, 100, 1, 1):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            while True:
                server.database.run(partial(use, size=size)).result()


def make_room(server):
    server.database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000")).result()


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.025)
    raise AssertionError("it did not happen")


def test_a_job_waits_while_the_database_is_full_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "LIBRARY_SECONDS", 0.1)
    with running(tmp_path) as (client, server):
        generate(client)  # loads the model
        client.post("/v1/queue/pause")
        job = client.post("/v1/jobs", json=BODY | {"count": 3}).json()["id"]
        fill(server)
        assert client.post("/v1/queue/resume").status_code == 507  # the queue goes on, but no event can be stored
        wait_until(lambda: "cannot be written" in client.get("/ready").text)
        assert client.get("/ready").status_code == 503
        refused = client.post("/v1/jobs", json=BODY)
        assert refused.status_code == 507 and "full" in refused.json()["detail"]
        assert client.get("/v1/takes").status_code == 200
        make_room(server)
        done = client.get(f"/v1/jobs/{job}?wait=60").json()
        assert done["state"] == "succeeded" and len({item["take"] for item in done["items"]}) == 3
        generate(client)
    assert check(tmp_path) == 5


def test_full_disks_are_told_without_paths(tmp_path, tone, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    with running(tmp_path) as (client, server):
        upload = {"file": ("tone.wav", tone)}
        with monkeypatch.context() as patch:
            patch.setattr(ObjectStore, "add", full)
            answer = client.post("/v1/uploads", files=upload)
            assert answer.status_code == 507 and answer.json()["hint"]
        with monkeypatch.context() as patch:
            patch.setattr("soundloom.serving.storage.objects.os.fsync", full)
            answer = client.post("/v1/uploads", files=upload)
            assert answer.status_code == 507 and answer.json()["hint"] == HINTS[errno.ENOSPC]
            assert "No space left on device" in answer.json()["detail"]
            assert str(tmp_path) not in answer.text
        assert client.post("/v1/uploads", files=upload).status_code == 201
        assert not [*server.store.folder.glob("*.part*")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_clips_that_cannot_be_written_fail_with_the_reason(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))  # the server inherits it
    try:
        with serving(tmp_path) as (_, url, _):
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            with httpx.Client(base_url=url, headers=token(tmp_path), timeout=60) as client:
                long = {"request": {"prompt": "rain", "seconds": 11, "steps": 1}}  # 3.7 MiB
                failed = client.post("/v1/jobs", json=long, headers=WAIT).json()
                assert failed["state"] == "failed" and "the clip could not be written" in failed["reason"]
                assert str(tmp_path) not in str(failed)
                done = client.post("/v1/jobs", json=BODY, headers=WAIT).json()
                assert done["state"] == "succeeded"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert check(tmp_path / "library") == 2
    assert not [*(tmp_path / "library" / "objects").glob("*.part*")]
