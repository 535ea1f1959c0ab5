"""After a kill at any file-system event, the same command gives the undisturbed result and leaves no other files.

SOUNDLOOM_KILL_POINTS sets at how many events of each command the marked test kills; 1000 is at all of them.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.atomic import atomic_file
from tests.robustness.mutators.kill_server import KillServer

REPLACING = """
import sys
from pathlib import Path
from soundloom.atomic import atomic_folder
from tests.robustness.mutators.kill_server import Events
folder, at, signal = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
events = Events(str(folder.parent), at, signal)
sys.addaudithook(events.hear)
with atomic_folder(folder) as new:
    (new / "new").touch()
print(events.count)
"""
MAX_POINTS = int(os.environ.get("SOUNDLOOM_KILL_POINTS", 8))
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SMALL = ("--seconds", 0.3, "--seed", 7, "--steps", 1)
COMMANDS = {
    "wav": ("generate", "rain", "-o", "a.wav", "--sidecar", "--model", "{tiny}", *SMALL),
    "flac": ("generate", "rain", "-o", "a.flac", "--model", "{tiny}", *SMALL),
    "clips": ("generate", "rain", "-o", "out/a.mp3", "--count", 3, "--model", "{tiny}", *SMALL),
    "vary": ("vary", "source.wav", "rain", "-o", "b.wav", "--model", "{tiny}", *SMALL[2:]),
    "convert": ("convert", "{tiny}", "out", "--layout", "bf16-mirror"),
    "npz": ("convert", "{tiny}", "out", "--layout", "npz"),
    "int4": ("convert", "{tiny}", "out", "--layout", "int4"),
    "quantize": ("quantize", "{tiny}", "out", "--quiet"),
    "latents": ("encode", "source.wav", "-o", "a.npy", "--model", "{tiny}"),
    "dataset": ("encode", "--dataset", "{sounds}", "out", "--model", "{tiny}"),
    "shards": ("encode", "--dataset", "{sounds}", "out", "--format", "webdataset", "--model", "{tiny}"),
}


@pytest.fixture(scope="module")
def server():
    server = KillServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(3)
    for i in range(5):
        soundfile.write(folder / f"{i}.wav", random.uniform(-0.5, 0.5, (4410, 2)), 44100)
        (folder / f"{i}.txt").write_text(f"sound {i}\n")
    return folder


class Case:
    """A command that runs in a new folder each time."""

    def __init__(self, name, server, places, root):
        self.server, self.root, self.runs = server, root, 0
        self.arguments = [str(argument).format(**places) for argument in COMMANDS[name]]
        self.source = next(iter(sorted(Path(places["sounds"]).glob("*.wav"))))

    def folder(self):
        self.runs += 1
        folder = self.root / str(self.runs) / "work"
        folder.mkdir(parents=True)
        shutil.copy(self.source, folder / "source.wav")
        return folder

    def run(self, folder, **kill):
        return self.server.run(folder, *self.arguments, **kill)


@pytest.fixture
def case(request, server, sounds, tiny_model_folder, tmp_path):
    return Case(request.param, server, {"tiny": tiny_model_folder, "sounds": sounds}, tmp_path)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers(folder):
    return [path.name for path in folder.rglob(".soundloom-*")]


def require_same_after_kill(case, undisturbed, at, number):
    folder = case.folder()
    code, _, error = case.run(folder, at=at, signal=number)
    killed = -number if number == signal.SIGKILL else 128 + number
    assert code in (killed, 0), error  # 0 where the event lies behind the last of this run
    if number != signal.SIGKILL:
        assert not leftovers(folder)
    code, _, error = case.run(folder)
    assert (code, error.count("error")) == (0, 0), error
    assert contents(folder) == undisturbed, f"after signal {number} at event {at}"
    shutil.rmtree(folder.parent)


def undisturbed(case):
    folder = case.folder()
    code, events, error = case.run(folder)
    assert code == 0, error
    return contents(folder), events


@pytest.mark.parametrize("case", ["wav", "convert", "shards"], indirect=True)
def test_after_a_kill_the_command_gives_the_same_result(case):
    whole, events = undisturbed(case)
    require_same_after_kill(case, whole, events - 1, signal.SIGKILL)
    require_same_after_kill(case, whole, events // 2, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("case", COMMANDS, indirect=True)
def test_after_a_kill_at_any_event_the_command_gives_the_same_result(case):
    whole, events = undisturbed(case)
    step = 1 + events // MAX_POINTS
    for at in range(1, events + 1, step):
        require_same_after_kill(case, whole, at, signal.SIGKILL)
    for i, at in enumerate(range(1, events + 1, 3 * step)):
        require_same_after_kill(case, whole, at, STOPS[i % len(STOPS)])


def replace_folder(folder, at=0):
    command = [sys.executable, "-c", REPLACING, str(folder), str(at), str(int(signal.SIGKILL))]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def test_replacing_a_folder_never_loses_it(tmp_path):
    """After a kill, the next writer finds the old folder or the new one, complete."""
    (tmp_path / "whole" / "out").mkdir(parents=True)
    events = int(replace_folder(tmp_path / "whole" / "out").stdout)
    found = set()
    for at in range(1, events + 1):
        folder = tmp_path / str(at) / "out"
        folder.mkdir(parents=True)
        (folder / "old").touch()
        killed = replace_folder(folder, at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        found.add(folder.exists())
        with atomic_file(folder.parent / "file"):  # sweeps
            assert [path.name for path in folder.iterdir()] in (["old"], ["new"]), f"after event {at}"
        assert not leftovers(folder.parent)
    assert found == {True, False}
