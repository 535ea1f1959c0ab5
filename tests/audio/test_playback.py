import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.playback import find_player, play
from soundloom.errors import AudioError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in players are shell scripts")
CLIP = Clip(np.full((2, 100), 0.25), 44100)
PLAYER = "afplay" if sys.platform == "darwin" else "aplay"


@pytest.fixture
def player(tmp_path, monkeypatch):
    """Put a shell script on PATH as the only player."""

    def install(script):
        file = tmp_path / PLAYER
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return install


def test_a_player_gets_a_wav_file_that_is_gone_afterwards(player, tmp_path):
    player(f'for file; do :; done; /bin/cp "$file" {tmp_path}/heard.wav; echo "$file" > {tmp_path}/name')
    play(CLIP)
    heard, rate = soundfile.read(tmp_path / "heard.wav")
    assert (rate, heard.shape, heard[0, 0]) == (44100, (100, 2), 0.25)
    assert not os.path.exists((tmp_path / "name").read_text().strip())  # noqa: PTH110


def test_temporary_files_of_a_killed_process_are_removed(player, tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    script = (
        "import numpy as np; from soundloom import Clip; from soundloom.audio.playback import play\n"
        "play(Clip(np.zeros((1, 64), np.float32), 44100))"
    )
    player("kill -KILL $PPID")
    subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "TMPDIR": str(place)})
    assert len(list(place.iterdir())) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    player("exit 0")
    play(CLIP)
    assert not list(place.iterdir())


def test_a_player_that_fails_is_quoted(player):
    player("echo no sound card >&2; exit 1")
    with pytest.raises(AudioError, match=f"{PLAYER} could not play the clip: no sound card"):
        play(CLIP)


def test_ctrl_c_stops_playback_without_an_error(player):
    player(f"kill -INT {os.getpid()}; exec /bin/sleep 60")
    play(CLIP)


def test_macos_plays_with_afplay(tmp_path, monkeypatch):
    for name in ("afplay", "ffplay"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert find_player() == ("afplay",)


def test_a_machine_without_a_player(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match=r"no audio player is installed\n.*install one of"):
        find_player()
