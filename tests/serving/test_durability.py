"""What a server leaves behind when it, its machine, or its disk stops at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import httpx
import pytest

from soundloom.serving.storage.database import Database
from soundloom.serving.storage.jobs import list_jobs
from soundloom.serving.storage.objects import ObjectStore, file_hash
from soundloom.serving.storage.takes import Search, list_takes
from tests.serving.test_serve import serving, token
from tests.serving.watching import events_in

BODY = {"request": {"prompt": "rain", "seconds": 0.3, "steps": 2}, "count": 2}
COPIES = 100


def children(pid):
    """Return the processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@contextmanager
def held(*pids):
    """Stop processes for a moment."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def check(folder):
    """Open a data folder as a restart would, and compare takes and files; return the number of takes."""
    database, store = Database(folder / "library.db"), ObjectStore(folder / "objects")
    takes, count = database.run(lambda connection: list_takes(connection, Search(limit=500))).result()
    jobs = database.run(list_jobs).result()
    database.close()
    for take in takes:
        path = store.path(take.artifact.hash)
        assert path.is_file() and file_hash(path) == take.artifact.hash
    known = {take.id for take in takes}
    for job in jobs:
        for item in job.items:
            assert (item.state == "succeeded") == (item.take is not None)
            assert item.take is None or item.take in known
    return count


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs the /proc of Linux")
def test_a_machine_that_stops_at_any_moment_leaves_no_take_without_its_file(tmp_path):
    rng, copies = random.Random(0), tmp_path / "copies"
    with (
        serving(tmp_path / "data") as (process, url, _),
        httpx.Client(base_url=url, headers=token(tmp_path / "data"), timeout=60) as client,
    ):
        client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"})  # loads the model
        for number in range(COPIES):
            client.post("/v1/jobs", json=BODY)
            time.sleep(rng.uniform(0, 0.1))
            with held(process.pid, *children(process.pid)):
                shutil.copytree(tmp_path / "data" / "library", copies / str(number))
    counts = [check(copies / str(number)) for number in range(COPIES)]
    assert counts == sorted(counts) and counts[-1] > 2


@pytest.mark.slow
def test_a_full_disk_fails_the_clip_with_its_reason_and_the_server_lives(tmp_path):
    data = tmp_path / "data"
    with serving(data) as (_, url, _), httpx.Client(base_url=url, headers=token(data), timeout=60) as client:
        assert client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}).json()["state"] == "succeeded"
        objects = data / "library" / "objects"
        moved = objects.rename(tmp_path / "moved")
        objects.touch()  # nothing can be written below a file, as on a full disk
        failed = client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}).json()
        assert failed["state"] == "failed"
        assert failed["items"][0]["error"]["message"]
        objects.unlink()
        moved.rename(objects)
        assert client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}).json()["state"] == "succeeded"
    assert check(data / "library") == 4


@pytest.mark.slow
def test_events_of_a_stream_that_is_cut_again_and_again_are_complete(tmp_path):
    rng, seen, last = random.Random(1), [], 0
    data = tmp_path / "data"
    with serving(data) as (_, url, _), httpx.Client(base_url=url, headers=token(data), timeout=60) as client:
        jobs = []
        for _ in range(50):
            jobs.append(client.post("/v1/jobs", json=BODY).json()["id"])
            last = read_some(client, last, seen, rng.randrange(1, 8))
        for job in jobs:
            assert client.get(f"/v1/jobs/{job}?wait=30").json()["state"] == "succeeded"
        while not all((job, "succeeded") in ends(seen) for job in jobs):
            last = read_some(client, last, seen, 1)
    numbers = [int(event["id"]) for event in seen]
    assert numbers == [*range(1, len(numbers) + 1)]


def ends(events):
    return {(event["data"].get("id"), event["data"].get("state")) for event in events if event["event"] == "job"}


def read_some(client, after, seen, count):
    """Read some durable events after a number and cut the stream; return the last number."""
    with client.stream("GET", f"/v1/events?after={after}") as answer:
        for event in islice((one for one in events_in(answer) if "id" in one), count):
            seen.append(event)
            after = int(event["id"])
    return after
