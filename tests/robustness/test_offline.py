"""Without a network, no connection is attempted, and a necessary download fails with one message."""

import os
import shutil
import subprocess
import sys

import pytest

from soundloom.config.catalogue import CATALOGUE

BLOCKED = """
import socket, sys

def refuse(*arguments, **options):
    sys.stderr.write(f"NETWORK {arguments}\\n")
    raise OSError(101, "Network is unreachable")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from soundloom.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
TINY = ("--seconds", "0.3", "--steps", "1", "-o", "a.wav")


@pytest.fixture
def call(tmp_path):
    """Run a command in a new process whose sockets cannot connect, with only small-music in its cache."""

    def run(*arguments, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "SOUNDLOOM_"))}
        environment |= {"HF_HOME": str(tmp_path / "hub"), "SOUNDLOOM_CONFIG": str(tmp_path / "config"), **variables}
        command = [sys.executable, "-c", BLOCKED, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    return run


@pytest.fixture
def installed(tmp_path, tiny_model_folder):
    entry = CATALOGUE["small-music"]
    folder = tmp_path / "hub" / "hub" / f"models--{entry.repo.replace('/', '--')}" / "snapshots" / entry.revision
    shutil.copytree(tiny_model_folder, folder, ignore=shutil.ignore_patterns("sha256.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("models",),
        ("models", "show", "medium"),
        pytest.param(("models", "show", "musicgen-small"), marks=pytest.mark.slow),
        ("models", "verify", "small-music"),
        pytest.param(("models", "pull", "small-music"), marks=pytest.mark.slow),
        ("doctor",),
        pytest.param(("generate", "rain", *TINY), marks=pytest.mark.slow),
        ("generate", "rain", "--model", "small-music", *TINY),
        pytest.param(("generate", "rain", "--model", "small-music", "--offline", *TINY), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_installed_models_need_no_network(call, installed, arguments):
    done = call(*arguments)
    assert "NETWORK" not in done.stderr
    # The tiny weights are not those that the catalogue pins.
    assert done.returncode == (1 if "verify" in arguments else 0), done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("generate", "rain", "--model", "medium", "--offline", *TINY), {}),
        pytest.param(("generate", "rain", "--model", "medium", *TINY), {"HF_HUB_OFFLINE": "1"}, marks=pytest.mark.slow),
        pytest.param(("models", "verify", "medium@bf16-mirror"), {}, marks=pytest.mark.slow),
        pytest.param(("models", "pull", "musicgen-small"), {"HF_HUB_OFFLINE": "1"}, marks=pytest.mark.slow),
    ],
)
def test_offline_mode_makes_no_connection(call, arguments, variables):
    done = call(*arguments, **variables)
    assert "NETWORK" not in done.stderr
    assert done.returncode == 1
    assert "is not in the cache, and downloads are disabled" in done.stderr
    assert "--model FOLDER" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_download_without_a_network_is_reported(call):
    done = call("generate", "rain", "--model", "medium", *TINY, SOUNDLOOM_ACCEPT_LICENSE="medium")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("NETWORK")]
    assert done.returncode == 1
    assert lines[0].startswith("error: this machine seems to be offline: model_config.json of stabilityai/")
    assert "model.safetensors" in lines[1]
    assert "--model FOLDER" in lines[1]
    assert len(lines) == 2
