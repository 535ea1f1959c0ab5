"""`soundloom studio` opens the studio of its server, or of one that runs already."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import httpx
import pytest

pytest.importorskip("fastapi")


@pytest.fixture
def environment(tmp_path):
    """A screen, and a browser that writes down what it is asked to show."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/shown"\n')
    browser.chmod(0o755)
    fresh = {name: text for name, text in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return {**fresh, "SOUNDLOOM_DATA": str(tmp_path), "SOUNDLOOM_OUTPUT": "none", "BROWSER": f"{browser} %s"}


def start(tmp_path, environment, *flags):
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "soundloom", "studio", *flags], stderr=file, env=environment)
    return process, log


def wait(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def shown(tmp_path):
    path = tmp_path / "shown"
    return path.read_text().split() if path.exists() else []


def test_it_opens_the_studio_logged_in(tmp_path, environment):
    process, log = start(tmp_path, environment, "--port", "0")
    try:
        (link,) = wait(lambda: shown(tmp_path))
        assert link in log.read_text()
        with httpx.Client(timeout=30) as client:
            assert client.get(link).headers["location"] == "/"
            url = re.match(r"http://[^/]+", link)[0]
            assert "<title>soundloom</title>" in client.get(url).text
            assert client.get(f"{url}/v1/system").status_code == 200

        port = url.rpartition(":")[2]
        second = [sys.executable, "-m", "soundloom", "studio", "--port", port]
        done = subprocess.run(second, capture_output=True, text=True, env=environment, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, "")
        assert "runs already" in done.stderr
        assert shown(tmp_path) == [link, url]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there is always a screen here")
@pytest.mark.parametrize(("flags", "said"), [((), "there is no screen"), (("--no-browser",), "Open it in a browser")])
def test_without_a_screen_it_prints_the_link(tmp_path, environment, flags, said):
    if not flags:
        del environment["BROWSER"]
    process, log = start(tmp_path, environment, "--port", "0", *flags)
    try:
        wait(lambda: said in log.read_text() and len(log.read_text().splitlines()) >= 3)
        assert shown(tmp_path) == []
    finally:
        process.kill()
        process.wait()
