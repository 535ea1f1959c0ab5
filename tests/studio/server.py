"""A server as a process, with its data in a folder of its own."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

TOKEN = "a-token-of-the-tests"
START_SECONDS = 60


class Studio:
    """A running server: `url`, `token`, `folder` of its data, and `client`, which sends the token."""

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self.folder, self.token, self.flags = folder, TOKEN, tuple(flags)
        self.port, self.url = 0, ""
        self.process: subprocess.Popen[bytes]
        self.client: httpx.Client

    def start(self) -> None:
        """Start the process, at the port of the last start."""
        variables = {
            **os.environ,
            "SOUNDLOOM_DATA": str(self.folder),
            "SOUNDLOOM_TOKEN": self.token,
            "SOUNDLOOM_OUTPUT": "none",
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, "-m", "soundloom", "serve", "--port", str(self.port), "--threads", "1", *self.flags]
        log = self.folder / "server.log"
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stderr=file, env=variables)
        end = time.monotonic() + START_SECONDS
        while len(lines := log.read_text().splitlines()) < 3:
            assert self.process.poll() is None and time.monotonic() < end, lines
            time.sleep(0.02)
        self.url = re.search(r"http://\S+", lines[0])[0]  # type: ignore[index]
        self.link = lines[2].strip()
        self.port = int(self.url.rpartition(":")[2])
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process; `signal.SIGKILL` ends it as a crash would."""
        self.client.close()
        self.process.send_signal(how)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def make(self, prompt: str = "rain", *, seconds: float = 1, count: int = 1, **request: Any) -> list[str]:
        """Make takes, and return their ids."""
        body = {"kind": "generate", "count": count, "request": {"prompt": prompt, "seconds": seconds, **request}}
        return self.run(body)

    def run(self, body: dict[str, Any]) -> list[str]:
        """Run a job to its end, and return the ids of its takes."""
        answer = self.client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})
        assert answer.status_code in (200, 202), answer.text
        job = answer.json()
        while job["state"] in ("queued", "running", "canceling"):
            job = self.client.get(f"/v1/jobs/{job['id']}", params={"wait": 20}).json()
        assert job["state"] == "succeeded", job
        return [item["take"] for item in job["items"]]

    def upload(self, samples: np.ndarray, rate: int = 44100, *, name: str = "own.wav", subtype: str = "FLOAT") -> str:
        """Upload samples (n,) or (n, c) as a WAV file, and return the id of the take."""
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
        answer = self.client.post("/v1/uploads", files={"file": (name, file.getvalue(), "audio/wav")})
        assert answer.status_code < 300, answer.text
        return str(answer.json()["id"])

    def samples(self, take: str) -> np.ndarray:
        """Return the samples (n, c) of a take, as stored."""
        data = self.client.get(f"/v1/takes/{take}/audio").raise_for_status().content
        return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]

    def takes(self, text: str = "") -> list[dict[str, Any]]:
        """Return the takes that a search finds, the newest first."""
        return self.client.get("/v1/takes", params={"text": text, "limit": 200}).raise_for_status().json()["takes"]

    def wait_for(self, count: int, *, kind: str, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until there are as many takes of a kind, and return them."""
        end = time.monotonic() + seconds
        while len(found := [take for take in self.takes() if take["kind"] == kind]) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} takes"
            time.sleep(0.05)
        return found


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Studio]:
    """Run a server with more flags of `soundloom serve`."""
    found = Studio(folder, flags)
    found.start()
    try:
        yield found
    finally:
        found.stop()
