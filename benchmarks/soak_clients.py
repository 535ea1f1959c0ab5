"""The clients of the soak test: what they do at random, what they follow, and what they expect of every answer."""

from __future__ import annotations

import io
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import numpy as np
import soundfile

MAX_OPEN = 3  # jobs of a client that have not ended
ENDED = ("succeeded", "failed", "canceled")
REFUSED = ("edit", "loop", "extend")  # kinds that the model or the length of the source may not allow
PAUSE = 1.5  # seconds between two actions, at most
PROMPTS = ("rain", "rock drum loop, 129 BPM", "warm pad in A minor", "Vögel & <b>Wind</b>")


class Schemas:
    """Checks that answers are what `/openapi.json` says."""

    def __init__(self, description: dict[str, Any]) -> None:
        self._components = description["components"]
        self._routes = [
            (re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)) + "$"), operations)
            for path, operations in description["paths"].items()
        ]
        self._checks: dict[str, Callable[[Any], Any]] = {}

    def fault(self, method: str, path: str, answer: httpx.Response) -> str:
        """Return what is wrong with an answer, or an empty string."""
        operations = [
            found[method.lower()] for route, found in self._routes if route.match(path) and method.lower() in found
        ]
        where = f"{method} {path}: {answer.status_code}"
        declared = operations[0]["responses"].get(str(answer.status_code)) if operations else None
        if declared is None:
            return f"{where} is not described: {answer.text[:200]}"
        if "$ref" in declared:
            declared = self._components["responses"][declared["$ref"].rpartition("/")[2]]
        content, kind = declared.get("content", {}), answer.headers.get("content-type", "").partition(";")[0]
        if not content:
            return ""
        if kind not in content:
            return f"{where} has the type {kind}"
        if not kind.endswith("json"):
            return ""
        try:
            self._check(content[kind]["schema"])(answer.json())
        except (ValueError, jsonschema.ValidationError) as error:
            return f"{where} is not as described: {str(error)[:300]}"
        return ""

    def _check(self, schema: dict[str, Any]) -> Callable[[Any], Any]:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._checks:
            whole = {**schema, "components": self._components}
            self._checks[key] = jsonschema.Draft202012Validator(whole).validate
        return self._checks[key]


class Follower(threading.Thread):
    """Follows the events of a client over streams that are cut at random, and keeps lists by them alone."""

    def __init__(self, client: SoakClient, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self.client, self.rng = client, rng
        self.jobs: dict[str, str] = {}  # state by id
        self.takes: dict[tuple[str, int], str] = {}  # by job and number
        self.seen: list[int] = []
        self.cuts, self.running = 0, True

    def run(self) -> None:
        with self.client.connection() as http:
            while self.running:
                try:
                    self._read(http, self.rng.randrange(3, 60))
                except httpx.HTTPError:
                    time.sleep(0.05)
                self.cuts += 1

    def _read(self, http: httpx.Client, count: int) -> None:
        headers = {"Last-Event-ID": str(self.seen[-1])} if self.seen else {}
        params = {} if self.seen else {"after": 0}
        with http.stream("GET", "/v1/events", headers=headers, params=params, timeout=20) as answer:
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    event[name] = value
                    continue
                if "data" in event:
                    self._take_up(event)
                    count -= 1
                event = {}
                if count <= 0 or not self.running:
                    return

    def _take_up(self, event: dict[str, str]) -> None:
        data, kind = json.loads(event["data"]), event["event"]
        if kind == "reset":
            self.client.faults.append("the stream of events was reset")
        if "id" not in event:
            return
        number = int(event["id"])
        if self.seen and number <= self.seen[-1]:
            self.client.faults.append(f"event {number} came after event {self.seen[-1]}")
        self.seen.append(number)
        if kind == "job" and "state" in data:
            if self.jobs.get(data["id"]) in ENDED:
                self.client.faults.append(f"job {data['id']} went on after its end")
            self.jobs[data["id"]] = data["state"]
        if kind == "item" and data.get("take"):
            if (data["job"], data["number"]) in self.takes:
                self.client.faults.append(f"clip {data['number']} of job {data['job']} was made twice")
            self.takes[data["job"], data["number"]] = data["take"]


class SoakClient:
    """A user of the server. `faults` are what must not happen."""

    def __init__(self, url: str, token: str, rng: random.Random, description: dict[str, Any]) -> None:
        self.url, self.token, self.rng, self.schemas = url, token, rng, Schemas(description)
        self.faults: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.post_seconds: list[float] = []
        self.lost_answers = self.uploads = 0
        self.accepted: set[str] = set()
        self.sources: list[str] = []
        self.server_jobs: list[dict[str, Any]] = []
        self.follower = Follower(self, random.Random(rng.random()))
        self.http = self.connection()
        self._running, self._keys = True, 0
        self._actor = threading.Thread(target=self._act, daemon=True)

    def connection(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)

    def start(self) -> None:
        self.follower.start()
        self._actor.start()

    def stop(self) -> None:
        self._running = False

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request and check the answer against its description."""
        answer = self.http.request(method, path, **options)
        self.statuses[str(answer.status_code)] += 1
        if fault := self.schemas.fault(method, path, answer):
            self.faults.append(fault)
        if answer.status_code >= 500 and path != "/ready":
            self.faults.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    # What it does

    def _act(self) -> None:
        actions = [self._submit] * 8 + [self._submit_and_lose_the_answer] * 2 + [self._cancel] * 4
        actions += [self._upload, self._send_junk, self._change, self._read_lists] + [self._read_part] * 3
        while self._running:
            try:
                self.rng.choice(actions)()
            except Exception as error:  # whatever fails here is a fault to report
                self.faults.append(f"{type(error).__name__}: {error}")
            time.sleep(self.rng.uniform(0, PAUSE))

    def _open(self) -> list[str]:
        states = dict(self.follower.jobs)
        return [job for job in sorted(self.accepted) if states.get(job) not in ENDED]

    def _body(self) -> dict[str, Any]:
        rng = self.rng
        request: dict[str, Any] = {"prompt": rng.choice(PROMPTS), "steps": rng.randrange(1, 5)}
        kind = (
            rng.choice(("generate", "generate", "loop", "vary", "inpaint", "extend", "edit"))
            if self.sources
            else "generate"
        )
        body: dict[str, Any] = {"kind": kind, "request": request, "count": rng.choice((1, 1, 1, 2, 3))}
        if rng.random() < 0.2:
            body["class"] = "batch"
        if kind == "generate":
            request["seconds"] = rng.choice((0.3, 0.5, 1.0))
            if rng.random() < 0.1:
                request |= {"steps": 100, "sampler": "euler"}  # to be canceled in the middle
            return body
        body["source"] = rng.choice(self.sources)
        request |= {"inpaint": {"regions": [[0.05, 0.2]]}, "extend": {"seconds": 1.5}}.get(kind, {})
        return body

    def _submit(self) -> None:
        if len(self._open()) >= MAX_OPEN:
            return
        body, start = self._body(), time.perf_counter()
        answer = self.ask("POST", "/v1/jobs", json=body)
        self.post_seconds.append(time.perf_counter() - start)
        self._note(body, answer)

    def _note(self, body: dict[str, Any], answer: httpx.Response) -> None:
        if answer.status_code == 202:
            self.accepted.add(answer.json()["id"])
            self.kinds[body["kind"]] += 1
        elif body["kind"] not in REFUSED and answer.status_code not in (404, 429):
            self.faults.append(f"{body} was refused: {answer.status_code} {answer.text[:300]}")

    def _submit_and_lose_the_answer(self) -> None:
        """Send a request and close the connection; then repeat it with the same key."""
        if len(self._open()) >= MAX_OPEN:
            return None
        self._keys += 1
        body, key = self._body(), f"key {self._keys}"
        content, address = json.dumps(body).encode(), urlsplit(self.url)
        lines = [
            "POST /v1/jobs HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            f"Idempotency-Key: {key}",
        ]
        with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            time.sleep(self.rng.choice((0.0, 0.002, 0.02)))
        self.lost_answers += 1
        for _ in range(50):
            answer = self.ask(
                "POST",
                "/v1/jobs",
                content=content,
                headers={"Idempotency-Key": key, "Content-Type": "application/json"},
            )
            if answer.status_code != 409:
                return self._note(body, answer)
            time.sleep(0.05)
        self.faults.append(f"{key} of a lost answer stays taken")
        return None

    def _cancel(self) -> None:
        if found := self._open():
            self.ask("POST", f"/v1/jobs/{self.rng.choice(found)}/cancel")

    def _upload(self) -> None:
        audio = 0.2 * np.random.default_rng(self.rng.randrange(2**32)).standard_normal(
            (self.rng.randrange(15_000, 40_000), 2)
        )
        file, form = io.BytesIO(), self.rng.choice(("WAV", "FLAC"))
        soundfile.write(file, audio.clip(-1, 1), 44_100, format=form)
        answer = self.ask("POST", "/v1/uploads", files={"file": (f"noise.{form.lower()}", file.getvalue())})
        if answer.status_code == 201:
            self.uploads += 1
            self.sources.append(answer.json()["id"])
        else:
            self.faults.append(f"an upload was refused: {answer.status_code} {answer.text[:300]}")

    def _send_junk(self) -> None:
        data = self.rng.choice(
            (b"", b"text", b"RIFF\xff\xff\xff\xffWAVE" + self.rng.randbytes(200), b"fLaC" + self.rng.randbytes(50))
        )
        if (status := self.ask("POST", "/v1/uploads", files={"file": ("a.wav", data)}).status_code) not in (415, 422):
            self.faults.append(f"junk was answered with {status}")

    def _read_part(self) -> None:
        """Read all of a clip and a part of it; the part must be the same bytes."""
        if not (takes := sorted(self.follower.takes.values())):
            return
        take = self.rng.choice(takes)
        self.sources = [*self.sources[-20:], take]
        path = f"/v1/takes/{take}/audio"
        params = {"format": self.rng.choice(("wav", "wav", "flac"))}
        whole = self.ask("GET", path, params=params).content
        first = self.rng.randrange(len(whole))
        last = min(len(whole) - 1, first + self.rng.randrange(1, 20_000))
        part = self.ask("GET", path, params=params, headers={"Range": f"bytes={first}-{last}"})
        if part.status_code != 206 or part.content != whole[first : last + 1]:
            self.faults.append(f"bytes {first} to {last} of take {take} differ")
        self.ask("GET", f"/v1/takes/{take}/{self.rng.choice(('peaks', 'spectrogram', 'lineage'))}")

    def _change(self) -> None:
        if takes := sorted(self.follower.takes.values()):
            take = self.rng.choice(takes)
            change = {"title": self.rng.choice(PROMPTS), "favorite": True, "tags": ["soak"]}
            self.ask("PATCH", f"/v1/takes/{take}", json=change)

    def _read_lists(self) -> None:
        path = self.rng.choice(("/v1/jobs", "/v1/takes", "/v1/system", "/v1/models", "/v1/loras", "/ready"))
        self.ask("GET", path)

    # The end

    def settle(self, deadline: float) -> None:
        """Wait until all jobs have ended, and the events have said so."""
        self._actor.join(60)
        jobs = self._all_jobs()
        while time.monotonic() < deadline:
            jobs = self._all_jobs()
            if all(job["state"] in ENDED for job in jobs) and self._known(jobs) == self.follower.jobs:
                break
            time.sleep(0.3)
        self.follower.running = False
        self.server_jobs = jobs

    def close(self) -> None:
        self.follower.join(30)
        self.http.close()

    def _all_jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/v1/jobs", params={"limit": 1000}).json()
        return found

    def _known(self, jobs: list[dict[str, Any]]) -> dict[str, str]:
        return {job["id"]: job["state"] for job in jobs}

    def compare(self) -> list[dict[str, Any]]:
        """Compare the lists of the client with the server's; return the server's jobs."""
        jobs = self.server_jobs
        if self._known(jobs) != self.follower.jobs:
            other = self._known(jobs).items() ^ self.follower.jobs.items()
            self.faults.append(f"jobs of the server and of the events differ: {sorted(other)[:10]}")
        if {job["id"] for job in jobs} != self.accepted:
            self.faults.append(
                f"jobs that were accepted and those of the server differ: {len(self.accepted)}, {len(jobs)}"
            )
        clips = {(job["id"], item["number"]): item for job in jobs for item in job["items"]}
        made = {key: item["take"] for key, item in clips.items() if item["take"]}
        if made != self.follower.takes:
            self.faults.append("clips of the server and of the events differ")
        for (job, number), item in clips.items():
            if (item["state"] == "succeeded") != (item["take"] is not None):
                self.faults.append(f"clip {number} of job {job} is {item['state']}, with the take {item['take']}")
        for job in jobs:
            if job["state"] == "failed" and not job["attempt"]:  # unless its worker was killed twice
                self.faults.append(f"job {job['id']} failed: {job['reason']}")
        return jobs

    def takes(self) -> list[str]:
        return [item["take"] for job in self.server_jobs for item in job["items"] if item["take"]]
