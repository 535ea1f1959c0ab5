"""A real worker process with `mini`: clips, failures, cancels, and its end."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import soundloom
from soundloom.audio.clip import Clip
from soundloom.serving.storage.objects import ObjectStore
from soundloom.serving.worker.messages import (
    Bye,
    Cancel,
    ItemDone,
    Load,
    Loaded,
    Ready,
    Run,
    RunDone,
    Working,
    WorkItem,
)
from soundloom.serving.worker.process import WorkerProcess, exit_reason
from soundloom.serving.worker.settings import WorkerSettings


class Conversation:
    """A worker, and what it says."""

    def __init__(self, folder) -> None:
        self.store = ObjectStore(Path(folder))
        self.said: queue.Queue = queue.Queue()
        settings = WorkerSettings(str(folder), engine="torch", device="cpu", threads=1)
        self.process = WorkerProcess(settings, self.said.put, self.said.put)

    def until(self, kind, seconds=60):
        """Return the messages up to the first one of a kind."""
        found = []
        while not found or not isinstance(found[-1], kind):
            found.append(self.said.get(timeout=seconds))
        return found

    def run(self, *items, number=1):
        self.process.send(Run(number, items))
        return self.until(RunDone)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Conversation(tmp_path_factory.mktemp("objects"))
    worker.until(Ready)
    worker.process.send(Load("mini"))
    (*_, loaded) = worker.until(Loaded)
    assert (loaded.model, loaded.engine, loaded.error) == ("mini", "torch", None)
    yield worker
    worker.process.send(Bye())
    worker.process.join()
    assert worker.until(str)[-1] == "the worker ended"


def item(prompt="rain", job="a", number=0, source=None, **fields):
    return WorkItem(job, number, "stable-audio", {"prompt": prompt, "seconds": 1.0, "seed": 1, **fields}, source)


def items_of(messages):
    return [message for message in messages if isinstance(message, ItemDone)]


def test_a_clip_is_stored_as_the_model_makes_it(worker):
    messages = worker.run(item("kick drum loop, 129 BPM"))
    (done,) = items_of(messages)
    assert (done.state, done.job, done.number) == ("succeeded", "a", 0)
    stored = Clip.load(worker.store.path(done.artifact["hash"]))
    alone = soundloom.load("mini", engine="torch", device="cpu").generate("kick drum loop, 129 BPM", seconds=1, seed=1)
    assert stored.audio.tobytes() == alone.audio.tobytes()
    assert stored.record["request"] == done.record["request"] == alone.record["request"]
    stages = {message.stage for message in messages if isinstance(message, Working) and message.finished}
    assert stages == {"text", "sample", "decode"}


def test_items_of_several_jobs_share_a_run_and_edits_read_stored_files(worker):
    first, second = items_of(worker.run(item(job="a"), item("wind", job="b", seed=2)))
    assert {first.job, second.job} == {"a", "b"}
    path = str(worker.store.path(first.artifact["hash"]))
    edit = {"prompt": "wind", "seed": 1, "regions": [[0.2, 0.4]]}
    (edited,) = items_of(worker.run(WorkItem("c", 0, "stable-audio", edit, path)))
    assert (edited.state, edited.record["mode"]) == ("succeeded", "inpaint")


def test_a_failure_is_the_items_and_the_worker_goes_on(worker):
    (failed,) = items_of(worker.run(item(steps=0)))
    assert failed.state == "failed"
    assert failed.error["type"] == "request-error" and "steps must be between" in failed.error["message"]
    (missing,) = items_of(worker.run(item(source="nothing.wav")))
    assert missing.error["type"] == "audio-error"
    assert items_of(worker.run(item()))[0].state == "succeeded"


def test_unusable_clips_of_a_run_name_their_own_seeds(worker):
    """About a quarter of the clips for a word that mini does not know are nearly silent."""
    found = items_of(worker.run(*(item("violin", number=seed, seconds=1.5, seed=seed) for seed in range(12))))
    failed = [one for one in found if one.state == "failed"]
    assert 2 <= len(failed) < 12 == len(found)
    for one in failed:
        assert one.error["type"] == "output-error" and f"seed {one.number}:" in one.error["message"]


def test_a_model_that_cannot_be_loaded_is_an_answer(tmp_path):
    worker = Conversation(tmp_path)
    worker.process.send(Load("no-such-model"))
    loaded = worker.until(Loaded)[-1]
    assert loaded.error["type"] == "model-not-found-error"
    worker.process.send(Bye())
    worker.process.join()


def test_a_canceled_job_stops_between_steps(worker):
    worker.process.send(Run(7, (item(steps=2000, sampler="euler"),)))
    worker.until(Working)
    start = time.monotonic()
    worker.process.send(Cancel("a"))
    assert [done.state for done in items_of(worker.until(RunDone))] == ["canceled"]
    assert time.monotonic() - start < 20, "all steps take longer"
    assert items_of(worker.run(item()))[0].state == "succeeded"  # the same job may run again


def test_another_job_in_the_run_is_unharmed(worker):
    worker.process.send(Run(8, (item(steps=60, sampler="euler"), item(job="b", seed=2, steps=60, sampler="euler"))))
    worker.until(Working)
    worker.process.send(Cancel("a"))
    assert {done.job: done.state for done in items_of(worker.until(RunDone))} == {"a": "canceled", "b": "succeeded"}


def test_a_killed_worker_is_noticed(tmp_path):
    worker = Conversation(tmp_path)
    pid = worker.until(Ready)[-1].pid
    os.kill(pid, signal.SIGKILL)
    assert worker.until(str)[-1] == "the worker was killed by the system, probably because memory ran out"
    worker.process.send(Load("mini"))  # dropped
    worker.process.join()


def test_exit_codes_are_described():
    assert exit_reason(-11) == "the worker crashed (SIGSEGV)"
    assert exit_reason(3) == "the worker ended with exit code 3"
    assert exit_reason(-99) == "the worker crashed (signal 99)"


def test_a_worker_ends_with_its_server(tmp_path):
    code = (
        "import os, sys\n"
        "from tests.serving.worker.test_worker import Conversation, Ready\n"
        "if __name__ == '__main__':\n"
        "    worker = Conversation(sys.argv[1]); print(worker.until(Ready)[-1].pid, flush=True); os._exit(9)\n"
    )
    script = tmp_path / "server.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, script, tmp_path / "objects"], capture_output=True, text=True, check=False, env=environment
    )
    pid, deadline = json.loads(done.stdout), time.monotonic() + 30
    while time.monotonic() < deadline and is_alive(pid):
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
