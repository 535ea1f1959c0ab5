"""The room of the library: warnings, refusals, and what makes room again."""

from __future__ import annotations

import os
import time

import pytest

from soundloom.serving.disk import LOW_BYTES, RESERVE_BYTES, Space, clean_derived
from tests.serving.http.conftest import running
from tests.serving.test_output import generate

GIB = 2**30
SECOND = {"prompt": "rain", "seconds": 1, "steps": 1}
CLIP = 44_100 * 2 * 4  # bytes
USERS = {"anna": "token-of-anna-0123"}


@pytest.mark.parametrize(
    ("space", "state", "left"),
    [
        (Space(0, 0, 100 * GIB, 200 * GIB), "ok", 100 * GIB - RESERVE_BYTES),
        (Space(90 * GIB, 0, 5 * GIB, 200 * GIB), "low", 5 * GIB - RESERVE_BYTES),
        (Space(0, 0, LOW_BYTES - 1, 200 * GIB), "low", LOW_BYTES - 1 - RESERVE_BYTES),
        (Space(0, 0, RESERVE_BYTES, 200 * GIB), "full", 0),
        (Space(8 * GIB, 0, 100 * GIB, 200 * GIB, 10 * GIB), "ok", 2 * GIB),
        (Space(9 * GIB, 3 * GIB, 100 * GIB, 200 * GIB, 10 * GIB), "low", 0),
        (Space(10 * GIB, 0, 100 * GIB, 200 * GIB, 10 * GIB), "full", 0),
        (Space(11 * GIB, 0, 100 * GIB, 200 * GIB, 10 * GIB), "full", 0),
        (Space(1 * GIB, 0, 2 * GIB, 200 * GIB, 10 * GIB), "ok", 2 * GIB - RESERVE_BYTES),
    ],
)
def test_the_room_is_what_the_limit_and_the_disk_allow(space, state, left):
    assert (space.state, space.left) == (state, left)


def disk(client):
    return client.get("/v1/system").json()["disk"]


def refused(answer):
    found = answer.json()
    assert (answer.status_code, found["type"]) == (507, "disk-limit-error"), found
    assert "are needed, and the library has room for" in found["detail"] and "--disk-limit" in found["hint"]
    return True


def wait_for_event(client, after, **facts):
    with client.stream("GET", f"/v1/events?after={after}") as answer:
        for line in answer.iter_lines():
            if all(f'"{name}": "{value}"' in line for name, value in facts.items()):
                return


def test_jobs_beyond_the_limit_are_refused_until_there_is_room(tmp_path, tone):
    with running(tmp_path, disk_limit=round(4.4 * CLIP), users=USERS) as (client, server):
        takes = generate(client, request=SECOND | {"seed": 1}, count=2)
        assert disk(client)["state"] == "ok" and 2 * CLIP < disk(client)["used"] < 2.2 * CLIP
        refused(client.post("/v1/jobs", json={"request": SECOND, "count": 3}))
        refused(client.post("/v1/jobs", json={"request": SECOND | {"seconds": 60}}))
        client.post("/v1/queue/pause")
        waiting = client.post("/v1/jobs", json={"request": SECOND, "count": 2}).json()["id"]
        assert disk(client)["needed"] > 2 * CLIP
        refused(client.post("/v1/jobs", json={"request": SECOND}))  # what waits counts
        client.post(f"/v1/jobs/{waiting}/cancel")
        assert disk(client)["needed"] == 0
        client.post("/v1/queue/resume")
        takes += generate(client, request=SECOND | {"seed": 3}, count=2)
        wait_for_event(client, 0, state="low")
        assert disk(client)["state"] == "low"
        refused(client.post("/v1/jobs", json={"request": SECOND}))
        refused(client.post("/v1/uploads", files={"file": ("tone.wav", tone * 9)}))
        for take in takes[:2]:
            client.delete(f"/v1/takes/{take}")
        refused(client.post("/v1/jobs", json={"request": SECOND}))  # deleted takes can be restored
        anna = {"Authorization": f"Bearer {USERS['anna']}"}
        assert client.delete("/v1/takes", headers=anna).json() == {"takes": 0, "bytes": 0}
        before = server.database.run(lambda c: c.execute("SELECT max(id) FROM events").fetchone()[0]).result()
        removed = client.delete("/v1/takes").json()
        assert removed["takes"] == 2 and 2 * CLIP < removed["bytes"] < 2.2 * CLIP
        wait_for_event(client, before, state="ok")
        generate(client, request=SECOND | {"seed": 9})
        assert client.post(f"/v1/takes/{takes[0]}/restore").status_code == 404
        assert len([*server.store.files()]) == 3


def test_sources_of_waiting_jobs_are_not_removed(tmp_path):
    with running(tmp_path) as (client, _):
        (take,) = generate(client)
        client.post("/v1/queue/pause")
        body = {"kind": "vary", "source": take, "request": {"prompt": "wind", "steps": 1}}
        job = client.post("/v1/jobs", json=body).json()["id"]
        client.delete(f"/v1/takes/{take}")
        assert client.delete("/v1/takes").json()["takes"] == 0
        client.post("/v1/queue/resume")
        assert client.get(f"/v1/jobs/{job}?wait=60").json()["state"] == "succeeded"
        assert client.delete("/v1/takes").json()["takes"] == 1


def test_the_size_that_is_expected_is_that_of_the_file(tmp_path):
    with running(tmp_path) as (client, server):
        client.post("/v1/queue/pause")
        client.post("/v1/jobs", json={"request": SECOND, "count": 2})
        expected = disk(client)["needed"]
        client.post("/v1/queue/resume")
        for _ in range(600):
            if len([*server.store.files()]) == 2:
                break
            time.sleep(0.05)
        assert 0 < expected - sum(path.stat().st_size for path in server.store.files()) < 40_000


def test_pictures_of_removed_files_and_old_copies_go(tmp_path):
    for name in (
        "peaks/aa.peaks",
        "peaks/aa-0-1.tile",
        "peaks/bb.peaks",
        "converted/new.mp3",
        "converted/old.mp3",
        "trash/cc.wav",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    os.utime(tmp_path / "converted" / "old.mp3", (1, 1))
    assert clean_derived(tmp_path, ["aa"], "trash") == 20
    assert {path.name for path in tmp_path.glob("*/*")} == {"aa.peaks", "aa-0-1.tile", "new.mp3", "cc.wav"}
    assert clean_derived(tmp_path / "nothing", [], "trash") == 0
