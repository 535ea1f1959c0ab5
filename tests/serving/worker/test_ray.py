"""A server whose worker is on a Ray cluster of this machine."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import soundloom
from soundloom import Client
from soundloom.errors import Canceled
from tests.serving.test_serve import refusal, serving
from tests.serving.watching import wait_for

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
RAY = (sys.executable, "-m", "ray.scripts.scripts")
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The variables of a cluster on this machine."""
    variables = {
        "RAY_ADDRESS": "127.0.0.1:46379",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(Path(soundloom.__file__).parents[1]),
        "HF_HUB_OFFLINE": "1",
    }
    flags = ("--head", "--node-ip-address=127.0.0.1", "--port=46379", "--num-cpus=2", "--include-dashboard=false")
    folder = f"--temp-dir={tmp_path_factory.mktemp('ray')}"
    environment = {name: value for name, value in {**os.environ, **variables}.items() if name != "RAY_ADDRESS"}
    # `ray stop` would end every cluster of this machine.
    process = subprocess.Popen([*RAY, "start", *flags, folder, "--block"], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield variables
    finally:
        end = "import ray; from ray import serve; ray.init(); serve.shutdown()"  # or the next line would take 30 s
        subprocess.run([sys.executable, "-c", end], env={**os.environ, **variables}, capture_output=True, check=False)
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def replicas() -> list[int]:
    """The processes of workers on the cluster."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::ServeReplica:soundloom-"):
            found.append(int(folder.name))
    return found


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
def test_a_worker_on_the_cluster_is_like_one_of_this_machine(cluster, tmp_path):
    flags = ("--ray", "1", "--devices", "cpu", "--engine", "torch", "--drain", "0")
    with serving(tmp_path, *flags, **cluster, SOUNDLOOM_TOKEN=TOKEN) as (process, url, _):
        with Client(url, TOKEN) as client:
            events = []
            clip = client.generate("rain", seconds=1, seed=7, progress=events.append)
            model = soundloom.load("mini", engine="torch", device="cpu", threads=1)
            assert (clip.audio == model.generate("rain", seconds=1, seed=7).audio).all()
            assert {event.stage for event in events} >= {"sample", "decode"} and events[-1].finished
            assert [one["name"] for one in client.system()["devices"]] == ["ray:0"]

            edited = client.vary(clip, noise=0.5, seed=1, steps=4)
            assert (edited.audio == model.vary(clip, noise=0.5, seed=1, steps=4).audio).all()

            cancel = threading.Event()
            start = time.monotonic()
            with pytest.raises(Canceled):
                client.generate("rain", seconds=4, steps=4000, cancel=cancel, progress=lambda _: cancel.set())
            wait_for(lambda: not client.jobs(["running", "canceling"]))
            assert time.monotonic() - start < 15

            killed = []

            def kill(_):
                if not killed:
                    killed.extend(replicas())
                    os.kill(killed[0], signal.SIGKILL)

            again = client.generate("rain", seconds=4, steps=200, seed=3, progress=kill)
            assert (again.audio == client.generate("rain", seconds=4, steps=200, seed=3).audio).all()
            assert [job["attempt"] for job in client.jobs()][-2:] == [1, 0] and len(killed) == 1
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    wait_for(lambda: not replicas())


@needs_ray
@pytest.mark.slow
def test_without_a_cluster_there_is_one_sentence(tmp_path):
    code, text = refusal(tmp_path, "--ray", "1", RAY_ADDRESS="127.0.0.1:1", RAY_AUTH_MODE="disabled")
    assert code == 2 and "there is no Ray cluster" in text and "Traceback" not in text


@pytest.mark.parametrize("flags", [("--ray", "0"), ("--ray", "101"), ("--ray", "1", "--devices", "cuda:0,cuda:1")])
def test_wrong_numbers_of_workers_are_refused(tmp_path, flags):
    code, text = refusal(tmp_path, *flags)
    assert code == 2 and "--ray is a number of workers" in text


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_without_ray_the_extra_is_named(tmp_path):
    code, text = refusal(tmp_path, "--ray", "1")
    assert code == 2 and "soundloom[ray]" in text and "Traceback" not in text
