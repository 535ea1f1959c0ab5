"""Measure the latency of `soundloom serve` on this machine.

    python benchmarks/server.py [--turns 5]

Prints the time from start to the first answer, that of accepting a job while another one runs, that from an event to
its listener, and that of a clip beside the same call without a server, in alternating turns.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from soundloom.pipeline.load import load_stable_audio

CLIP = {"prompt": "rock drum loop, 129 BPM", "seconds": 4, "seed": 7}
SLOW = {**CLIP, "steps": 3000, "sampler": "euler"}
POSTS = 200


@contextmanager
def serving(folder: Path) -> Iterator[tuple[httpx.Client, float]]:
    """Start a server; yield a client and the seconds until it answered."""
    command = [sys.executable, "-m", "soundloom", "serve", "--port", "0"]
    start = time.perf_counter()
    environment = {**os.environ, "SOUNDLOOM_DATA": str(folder)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    found = re.search(r"http://\S+", process.stderr.readline())
    assert found is not None
    token = (folder / "library" / "token").read_text().strip()
    with httpx.Client(base_url=found[0], headers={"Authorization": f"Bearer {token}"}, timeout=120) as client:
        while True:
            try:
                client.get("/health").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.005)
        yield client, time.perf_counter() - start
    process.terminate()
    process.wait()


def accept_times(client: httpx.Client) -> list[float]:
    """Return the seconds of POST /v1/jobs while a job runs."""
    busy = client.post("/v1/jobs", json={"request": SLOW}).json()["id"]
    times = []
    for _ in range(POSTS):
        start = time.perf_counter()
        job = client.post("/v1/jobs", json={"request": CLIP}).json()["id"]
        times.append(time.perf_counter() - start)
        client.post(f"/v1/jobs/{job}/cancel")
    client.post(f"/v1/jobs/{busy}/cancel")
    client.get(f"/v1/jobs/{busy}?wait=60")
    return sorted(times)


def event_times(client: httpx.Client, count: int = 30) -> list[float]:
    """Return the seconds from a change, made by another client, to its event."""
    seen: list[float] = []
    started = threading.Event()

    def listen() -> None:
        with client.stream("GET", "/v1/events") as answer:
            for line in answer.iter_lines():
                started.set()
                if line.startswith("data:") and "paused" in json.loads(line[5:]):
                    seen.append(time.perf_counter())
                    if len(seen) == count:
                        return

    listener = threading.Thread(target=listen)
    listener.start()
    started.wait()
    sent = []
    with httpx.Client(base_url=client.base_url, headers=client.headers) as other:
        for number in range(count):
            sent.append(time.perf_counter())
            other.post("/v1/queue/pause" if number % 2 == 0 else "/v1/queue/resume")
            time.sleep(0.02)
    listener.join()
    return sorted(end - start for start, end in zip(sent, seen, strict=True))


def clip_times(client: httpx.Client, turns: int) -> tuple[list[float], list[float]]:
    """Return the seconds of a clip by the server, from the request to its bytes, and by the model alone."""
    model = load_stable_audio("mini", keep_loaded=True)
    served, bare = [], []
    for turn in range(turns + 1):  # the first one loads the networks
        start = time.perf_counter()
        job = client.post("/v1/jobs", json={"request": CLIP}, headers={"Prefer": "wait=60"}).json()
        client.get(f"/v1/takes/{job['items'][0]['take']}/audio").raise_for_status()
        middle = time.perf_counter()
        model.generate(**CLIP).to_bytes("wav", subtype="FLOAT")
        if turn:
            served.append(middle - start)
            bare.append(time.perf_counter() - middle)
    return served, bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, metavar="N")
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (client, start):
        print(f"start to /health: {start:.2f} s")
        served, bare = clip_times(client, turns)
        ratio = min(served) / min(bare)
        print(f"4 s of mini, POST to bytes: {min(served):.3f} s; without a server {min(bare):.3f} s; ratio {ratio:.2f}")
        posts = accept_times(client)
        print(
            f"POST /v1/jobs while a job runs: median {statistics.median(posts) * 1e3:.1f} ms, "
            f"p99 {posts[int(0.99 * len(posts))] * 1e3:.1f} ms"
        )
        events = event_times(client)
        print(f"event to listener: median {statistics.median(events) * 1e3:.1f} ms, largest {events[-1] * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
