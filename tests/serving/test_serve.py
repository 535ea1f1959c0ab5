"""`soundloom serve` as a process: its start, its end, and what it refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import httpx
import pytest

from soundloom.cli.main import main
from soundloom.serving.run import Address, _listen


@contextmanager
def serving(folder, *flags, **environment):
    """Start the command; yield the process, its address and its link."""
    variables = {**os.environ, "SOUNDLOOM_DATA": str(folder), "HF_HUB_OFFLINE": "1", **environment}
    command = [sys.executable, "-m", "soundloom", "serve", "--port", "0", "--threads", "1", *flags]
    folder.mkdir(exist_ok=True)
    with log_of(folder).open("w") as log:  # a pipe that nobody reads would block the server when it is full
        process = subprocess.Popen(command, stderr=log, env=variables)
    try:
        while len(lines := lines_from_address(folder)) < 3:
            assert process.poll() is None, lines
            time.sleep(0.01)
        yield process, re.search(r"http://\S+", lines[0])[0], lines[2].strip()
    finally:
        process.kill()
        process.wait()


def lines_from_address(folder):
    """Return what the server printed from the line with its address on; warnings may come before it."""
    text = log_of(folder).read_text()
    return text[text.find("soundloom is at") :].splitlines() if "soundloom is at" in text else []


def log_of(folder):
    return folder / "server.log"


def refusal(folder, *flags, **environment):
    variables = {**os.environ, "SOUNDLOOM_DATA": str(folder), **environment}
    command = [sys.executable, "-m", "soundloom", "serve", *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Call the command in this process with flags that it refuses; return its code and what it prints."""
    monkeypatch.setenv("SOUNDLOOM_DATA", str(tmp_path))
    monkeypatch.setattr("soundloom.serving.run._Web.run", lambda *_: pytest.fail("the server starts"))

    def call(*flags):
        code = main(["serve", *flags])
        return code, capsys.readouterr().err

    return call


def token(folder):
    return {"Authorization": f"Bearer {(folder / 'library' / 'token').read_text().strip()}"}


def test_it_serves_a_clip_and_stops_with_open_streams(tmp_path):
    with serving(tmp_path, "--drain", "1") as (process, url, link):
        with httpx.Client(base_url=url, headers=token(tmp_path), timeout=60) as client:
            assert client.get("/health").status_code == 200
            body = {"request": {"prompt": "rain", "seconds": 1}}
            job = client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
            assert job["state"] == "succeeded"
            assert httpx.get(link).status_code == 303
            lines, answers = [], []
            streams = [threading.Thread(target=read_stream, args=(url, token(tmp_path), lines)) for _ in range(5)]
            for stream in streams:
                stream.start()
            slow = {"request": {"prompt": "rain", "seconds": 1, "steps": 4000, "sampler": "euler"}}
            waiting = client.post("/v1/jobs", json=slow).json()["id"]
            waits = [
                (f"/v1/jobs/{waiting}?wait=60", None),
                ("/v1/audio/generate", {"input": "rain", "audio_length": 1}),
            ]
            for path, content in waits:
                streams.append(
                    threading.Thread(target=wait_for_answer, args=(url, token(tmp_path), path, content, answers))
                )
                streams[-1].start()
            deadline = time.monotonic() + 60
            while lines.count("event: hello") < 5 or len(client.get("/v1/jobs").json()) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.5)  # for the other answer that is waited for, which shows nowhere
            start = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            assert time.monotonic() - start < 30, "6 s on an idle machine: the drain and 5"
        for stream in streams:
            stream.join(30)
            assert not stream.is_alive()
        assert lines.count("event: bye") == 5
        assert sorted(answers) == [200, 503]
        assert "Traceback" not in log_of(tmp_path).read_text()
    with serving(tmp_path) as (_, url, _), httpx.Client(base_url=url, headers=token(tmp_path)) as client:
        assert client.get(f"/v1/jobs/{waiting}").json()["state"] in ("queued", "running")
        assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "succeeded"


def wait_for_answer(url, headers, path, content, answers):
    answers.append(
        httpx.request("POST" if content else "GET", url + path, headers=headers, json=content, timeout=60).status_code
    )


def read_stream(url, headers, lines):
    try:
        with httpx.stream("GET", f"{url}/v1/events", headers=headers, timeout=30) as answer:
            lines += answer.iter_lines()
    except httpx.HTTPError:
        pass


def test_the_token_is_private_and_can_be_chosen(tmp_path):
    with serving(tmp_path, SOUNDLOOM_TOKEN="a token of the tests") as (_, url, _):
        assert httpx.get(f"{url}/v1/system", headers={"X-API-Key": "a token of the tests"}).status_code == 200
        assert not (tmp_path / "library" / "token").exists()
    with serving(tmp_path):
        assert (tmp_path / "library" / "token").stat().st_mode & 0o077 == 0


def test_a_second_server_is_refused_in_a_sentence(tmp_path):
    with serving(tmp_path):
        code, text = refusal(tmp_path, "--port", "0")
        assert code == 1 and "another server uses this data folder" in text


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, text = refusal(tmp_path, "--port", port)
        assert code == 2 and f"cannot listen on 127.0.0.1, port {port}" in text and "--port" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--host", "0.0.0.0"), "needs a token of yours"),
        (("--port", "70000"), "--port must be between 0 and 65535"),
        (("--port", "99999999999999999999"), "does not fit"),
        (("--drain", "nan"), "seconds, 0 or more"),
        (("--keep-alive", "-5"), "seconds, 0 or more"),
        (("--model", "same-s"), "autoencoder alone"),
        (("--model", "no-such-model"), "no-such-model"),
        (("--output", ""), "--output needs a folder"),
        (("--output", "/dev/null"), "is a file"),
        (("--name", "{nothing}"), "no placeholder {nothing}"),
        (("--name", "a/b"), "not the name of a file"),
    ],
)
def test_wrong_flags_are_refused_in_a_sentence(refused, flags, message):
    code, text = refused(*flags)
    assert code == 2 and message in text and "Traceback" not in text


def test_an_unknown_address_is_refused(tmp_path):
    code, text = refusal(tmp_path, "--host", "no.such.host.invalid", SOUNDLOOM_TOKEN="a token of the tests")
    assert code == 2 and "cannot listen on no.such.host.invalid" in text


def test_a_short_token_is_refused(tmp_path):
    assert "fewer than 16 characters" in refusal(tmp_path, SOUNDLOOM_TOKEN="short")[1]


def test_the_server_process_loads_no_framework(tmp_path):
    code = (
        "import sys, soundloom.serving.run\n"
        "assert not {'torch', 'mlx'} & set(sys.modules), sorted({'torch', 'mlx'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_default_model_that_is_not_downloaded_is_named_at_the_start(tmp_path):
    with serving(tmp_path, "--model", "small-music", HF_HOME=str(tmp_path / "none")):
        assert "small-music is not downloaded, so jobs that name no model fail" in log_of(tmp_path).read_text()


def test_gary_has_a_port_of_its_own_that_needs_no_token(tmp_path):
    with serving(tmp_path, "--compat", "gary:0") as (_, url, _):
        while len(lines := log_of(tmp_path).read_text().splitlines()) < 4:
            time.sleep(0.01)
        line = lines[3]
        gary = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
        assert "without a token" in line
        assert httpx.get(f"{gary}/health").json()["status"] == "healthy"
        assert httpx.get(f"{url}/health").json()["status"] == "alive"
        assert httpx.post(f"{url}/generate", json={}).status_code == 401


@pytest.mark.parametrize("value", ["", "mlx", "gary:", "gary:x", "gary:70000", "gary:-1", "gary:8006:1"])
def test_other_values_of_compat_are_refused(refused, value):
    code, text = refused("--compat", value)
    assert code != 0
    assert "--compat" in text
    assert "Traceback" not in text


def test_users_come_from_a_file(tmp_path):
    (tmp_path / "users").write_text("anna 0123456789abcdef")
    with (
        serving(tmp_path, "--users", str(tmp_path / "users")) as (_, url, _),
        httpx.Client(base_url=url, headers={"X-API-Key": "0123456789abcdef"}) as client,
    ):
        assert client.get("/v1/system").json()["user"] == "anna"
    (tmp_path / "users").write_text("anna short")
    code, message = refusal(tmp_path, "--users", str(tmp_path / "users"))
    assert code == 2 and "line 1" in message and "fewer than 16" in message


def test_connections_do_not_wait_for_acknowledgements():
    with closing(_listen(Address(port=0))) as listening, closing(socket.create_connection(listening.getsockname())):
        accepted, _ = listening.accept()
        with closing(accepted):
            assert accepted.proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on"


def test_the_output_folder_is_outside_the_library(refused, tmp_path):
    code, text = refused("--output", str(tmp_path / "library" / "objects"))
    assert code == 2 and "is inside the library" in text


def test_clips_appear_in_the_music_folder_of_the_user(tmp_path):
    music = tmp_path / "Musik"
    with (
        serving(tmp_path, "--name", "{n:02}-{prompt}.wav", SOUNDLOOM_OUTPUT="", XDG_MUSIC_DIR=str(music)) as served,
        httpx.Client(base_url=served[1], headers=token(tmp_path), timeout=60) as client,
    ):
        body = {"request": {"prompt": "rain", "seconds": 0.3}, "count": 2}
        assert client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()["state"] == "succeeded"
        for _ in range(3000):
            if len([*music.glob("*/*.wav")]) == 2:
                break
            time.sleep(0.01)
    assert sorted(path.name for path in (music / "soundloom").iterdir()) == ["00-rain.wav", "01-rain.wav"]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e99"])
def test_disk_limits_that_are_none_are_refused(refused, value):
    code, text = refused("--disk-limit", value)
    assert code == 2 and "--disk-limit" in text and "Traceback" not in text
