"""`--server` against a real server with `mini`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from soundloom import Clip
from tests.serving.http.conftest import TOKEN, running


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("data")) as (http, _):
        yield str(http.base_url)


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_TOKEN", TOKEN)


COMMANDS = [
    ("generate", "rain", "--seconds", 1, "--count", 2),
    ("generate", "rain, 120 BPM", "--bars", 0.5, "--loop", "--fade-in", 0, "--normalize", "-16lufs"),
    ("vary", "in.wav", "--noise", 0.5),
    ("inpaint", "in.wav", "a 440 Hz tone", "--region", "0.2,0.4"),
    ("extend", "in.wav", "--seconds", 0.5),
    ("loop", "in.wav", "--seam", 0.2),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command)))
def test_commands_write_the_same_files_as_here(soundloom, url, tmp_path, command):
    soundloom("generate", "rain", "--seconds", 1, "--seed", 5, "-o", "in.wav", "--threads", 1, "--device", "cpu")
    here = soundloom(*command, "--seed", 7, "-o", tmp_path / "here" / "x.wav", "--threads", 1, "--device", "cpu")
    there = soundloom(*command, "--seed", 7, "-o", tmp_path / "there" / "x.wav", "--server", url)
    assert (here.code, there.code) == (0, 0), there.err
    assert [path.name for path in here.paths] == [path.name for path in there.paths] != []
    for one, other in zip(here.paths, there.paths, strict=True):
        local, remote = Clip.load(one), Clip.load(other)
        assert (local.audio == remote.audio).all() and local.source_format == remote.source_format
        assert local.record == remote.record


def test_tables_and_json_work(soundloom, url):
    found = soundloom("generate", "rain", "--seconds", 1, "--seed", 7, "--server", url, "--json", "--csv", "t.csv")
    assert found.code == 0 and json.loads(found.out)["clips"][0]["seed"] == 7
    again = soundloom("generate", "--like", "rain-7.wav", "--server", url, "-o", "again.wav")
    assert again.code == 0 and "will differ" not in again.err and "no effect" not in again.err
    assert (Clip.load("again.wav").audio == Clip.load("rain-7.wav").audio).all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--server", "127.0.0.1:1"), "does not answer"),
        (("--server", ""), "not the address"),
        (("--server", "ftp://x"), "not the address"),
        (("--server", "URL", "--keep-bad"), "--keep-bad cannot be used with --server"),
    ],
)
def test_what_a_server_cannot_do_is_one_sentence(soundloom, url, arguments, text):
    found = soundloom("generate", "rain", *(url if argument == "URL" else argument for argument in arguments))
    assert found.code in (1, 2) and text in found.err and "Traceback" not in found.err


def test_models_of_this_machine_are_not_the_server_s(soundloom, url, tiny_model_folder):
    found = soundloom("generate", "rain", "--server", url, "--model", tiny_model_folder)
    assert found.code == 2 and "is a model of this machine" in found.err


def test_flags_of_this_machine_have_no_effect(soundloom, url):
    found = soundloom("generate", "rain", "--seconds", 1, "--seed", 1, "--server", url, "--device", "cpu")
    assert found.code == 0 and "--device has no effect with --server" in found.err


def test_a_laptop_needs_no_pytorch(url, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from soundloom.cli.main import main\n"
        f"code = main(['generate', 'rain', '--seconds', '1', '--seed', '1', '--server', '{url}', '-o', 'x.wav'])\n"
        "assert not [name for name in sys.modules if name.startswith(('torch.', 'mlx', 'soundloom.serving.http'))]\n"
        "raise SystemExit(code)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert (tmp_path / "x.wav").is_file()
