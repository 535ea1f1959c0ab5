"""Let many clients use one `soundloom serve` at random, and check that nothing is lost.

    nice python -m benchmarks.soak [--minutes 10] [--clients 20] [--kill-every 60] [--seed 0]

Clients submit jobs of all kinds, cancel some, upload files, read audio in parts, repeat requests whose answer they
lost, and follow their events over streams that are cut; meanwhile the worker is killed. At the end each client's lists
must equal the server's, every clip must have its file, and the memory of the server must not have grown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.soak_clients import SoakClient
from soundloom.serving.storage.objects import file_hash

TOKEN = "the-token-of-the-soak-test"
SAMPLE_SECONDS = 0.5
WARM = 0.2  # share of the time until memory is compared
END_SECONDS = 900.0  # for the jobs that are left


@dataclass
class Figures:
    """What happened, and in `faults` what must not."""

    seconds: float = 0.0
    clients: int = 0
    requests: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)  # by kind
    ends: dict[str, int] = field(default_factory=dict)  # by state
    takes: int = 0
    uploads: int = 0
    kills: int = 0
    restarts: int = 0
    killed_twice: int = 0  # jobs that failed for this reason
    repeated_jobs: int = 0  # whose worker died
    cut_streams: int = 0
    lost_answers: int = 0
    events: int = 0
    post_ms: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, float] = field(default_factory=dict)
    files: int = 0  # open in the server at the end
    faults: list[str] = field(default_factory=list)


class Served:
    """A server process with users."""

    def __init__(self, folder: Path, users: dict[str, str]) -> None:
        (folder / "users").write_text("".join(f"{name} {token}\n" for name, token in users.items()))
        self.library, self.log = folder / "data" / "library", folder / "server.log"
        command = [sys.executable, "-m", "soundloom", "serve", "--port", "0", "--threads", "1"]
        command += ["--users", str(folder / "users"), "--output", str(folder / "output")]
        environment = {**os.environ, "SOUNDLOOM_DATA": str(folder / "data"), "SOUNDLOOM_TOKEN": TOKEN}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environment)
        while not (found := re.search(r"http://\S+", self.log.read_text())):
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.05)
        self.url = found[0]

    def workers(self) -> list[int]:
        """Return the processes that run models."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = {int(child) for task in tasks for child in _read(task).split()}
        return [child for child in children if "spawn_main" in _read(Path(f"/proc/{child}/cmdline"))]

    @property
    def memory(self) -> float:
        """MiB of memory of the server process itself, without pages of files."""
        found = re.search(r"RssAnon:\s+(\d+)", _read(Path(f"/proc/{self.process.pid}/status")))
        return int(found[1]) / 1024 if found else 0.0

    @property
    def files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended
        return ""


@contextmanager
def serving(folder: Path, users: dict[str, str]) -> Iterator[Served]:
    """Start a server; end it at the end."""
    served = Served(folder, users)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()


def soak(seconds: float = 600.0, clients: int = 20, kill_every: float = 60.0, seed: int = 0) -> Figures:
    """Run clients against a server for a time; return what happened."""
    users = {f"user{number}": f"the-token-of-user-{number:04}" for number in range(clients)}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), users) as served:
        figures = Figures(seconds=seconds, clients=clients)
        description = httpx.get(f"{served.url}/openapi.json", headers={"X-API-Key": TOKEN}).json()
        actors = [
            SoakClient(served.url, token, random.Random(f"{seed} {name}"), description) for name, token in users.items()
        ]
        for actor in actors:
            actor.start()
        memory = _watch(served, figures, time.monotonic() + seconds, kill_every, random.Random(seed))
        for actor in actors:
            actor.stop()
        # A device is held when its worker dies three times while it loads; whoever runs the server lets it go on.
        httpx.post(f"{served.url}/v1/queue/resume", headers={"X-API-Key": TOKEN})
        deadline = time.monotonic() + END_SECONDS
        for actor in actors:
            actor.settle(deadline)
        time.sleep(1)
        memory["end"] = served.memory
        figures.memory_mib = {name: round(value, 1) for name, value in memory.items()}
        figures.files = served.files
        _add_up(figures, actors)
        _compare(figures, actors, served)
        for actor in actors:
            actor.close()
        if (code := served.stop()) not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            figures.faults.append(f"the server ended with exit code {code}")
        if "Traceback" in served.log.read_text():
            figures.faults.append("the server's log has a traceback:\n" + served.log.read_text()[-3000:])
    return figures


def _watch(served: Served, figures: Figures, end: float, kill_every: float, rng: random.Random) -> dict[str, float]:
    """Kill workers and measure memory until the end."""
    start = time.monotonic()
    memory = {"start": served.memory}
    next_kill = start + kill_every * rng.uniform(0.5, 1)
    while (now := time.monotonic()) < end:
        if now >= next_kill:
            for worker in served.workers():
                os.kill(worker, signal.SIGKILL)
                figures.kills += 1
            next_kill = now + kill_every
        memory["largest"] = max(memory.get("largest", 0.0), served.memory)
        if "warm" not in memory and now - start > WARM * (end - start):
            memory["warm"] = served.memory
        time.sleep(SAMPLE_SECONDS)
    return memory


def _add_up(figures: Figures, actors: list[SoakClient]) -> None:
    statuses: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    posts = sorted(time for actor in actors for time in actor.post_seconds)
    for actor in actors:
        statuses.update(actor.statuses)
        kinds.update(actor.kinds)
        figures.faults += actor.faults
        figures.cut_streams += actor.follower.cuts
        figures.lost_answers += actor.lost_answers
        figures.uploads += actor.uploads
        figures.events += len(actor.follower.seen)
    figures.requests, figures.statuses = sum(statuses.values()), dict(sorted(statuses.items()))
    figures.jobs = dict(sorted(kinds.items()))
    if posts:
        shares = {"median": 0.5, "p99": 0.99, "largest": 1.0}
        figures.post_ms = {
            name: round(1e3 * posts[min(len(posts) - 1, int(share * len(posts)))], 1) for name, share in shares.items()
        }


def _compare(figures: Figures, actors: list[SoakClient], served: Served) -> None:
    """Compare what clients know with what the server has, and the library with its files."""
    ends: Counter[str] = Counter()
    for actor in actors:
        jobs = actor.compare()
        figures.repeated_jobs += sum(job["attempt"] > 0 for job in jobs)
        ends.update(job["state"] for job in jobs)
        figures.killed_twice += sum(job["state"] == "failed" and job["attempt"] > 0 for job in jobs)
    figures.ends = dict(sorted(ends.items()))
    with httpx.Client(base_url=served.url, headers={"X-API-Key": TOKEN}, timeout=60) as admin:
        figures.restarts = admin.get("/v1/system").json()["devices"][0]["restarts"]
        takes: list[Any] = []
        while page := admin.get("/v1/takes", params={"limit": 500, "offset": len(takes)}).json()["takes"]:
            takes += page
    figures.takes = len(takes)
    for take in takes:
        hash = take["audio"]["id"]
        path = served.library / "objects" / hash[:2] / f"{hash}.wav"
        if take["audio"]["missing"] or not path.is_file() or file_hash(path) != hash:
            figures.faults.append(f"take {take['id']} has no file, or another one")
    known = Counter(take for actor in actors for take in actor.takes())
    if twice := [take for take, count in known.items() if count > 1]:
        figures.faults.append(f"takes that belong to two clips: {twice}")
    if other := known.keys() ^ {take["id"] for take in takes}:
        figures.faults.append(f"takes that belong to no clip, or the reverse: {sorted(other)[:20]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N")
    parser.add_argument("--clients", type=int, default=20, metavar="N")
    parser.add_argument("--kill-every", type=float, default=60.0, metavar="S")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args()
    figures = soak(options.minutes * 60, options.clients, options.kill_every, options.seed)
    sys.stdout.write(json.dumps(asdict(figures), indent=1, ensure_ascii=False) + "\n")
    return 1 if figures.faults else 0


if __name__ == "__main__":
    sys.exit(main())
