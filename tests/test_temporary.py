"""What killed processes leave: told from what is being written, removed by the next, never taken for content."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from soundloom import Clip, leftovers
from soundloom.atomic import alone_in, atomic_file, new_folder, replacing
from soundloom.errors import WriteError
from soundloom.leftovers import is_empty, stale_in, unfinished_name


@pytest.fixture
def dead(tmp_path):
    """A file and a folder whose process is gone."""
    script = (
        "import os, pathlib, signal, sys; from soundloom.leftovers import unfinished_name\n"
        "pathlib.Path(sys.argv[1], unfinished_name('file', '.npy')).touch()\n"
        "folder = pathlib.Path(sys.argv[1], unfinished_name('folder')); folder.mkdir(); (folder / 'a').touch()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    found = sorted(tmp_path.iterdir())
    assert len(found) == 2
    return found


def test_a_name_says_whose_it_is():
    name = unfinished_name("file", ".wav")
    assert name.startswith(f".soundloom-file-{os.getpid()}-")
    assert name.endswith(".wav")
    assert name != unfinished_name("file", ".wav")


def test_leftovers_of_a_process_that_is_gone_are_removed_before_anything_is_written(dead, tmp_path):
    assert sorted(stale_in(tmp_path)) == dead
    assert is_empty(tmp_path)
    with replacing(tmp_path / "a.txt") as new:
        assert list(tmp_path.iterdir()) == [new]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    ours = tmp_path / unfinished_name("file")
    ours.touch()
    assert stale_in(tmp_path) == []
    assert not is_empty(tmp_path)


def test_a_process_that_got_the_number_of_a_dead_one_does_not_protect_its_leftovers(tmp_path):
    ours = unfinished_name("file")
    start = ours.split("-")[3]
    other = tmp_path / ours.replace(start, "0123abcd")
    other.touch()
    assert stale_in(tmp_path) == [other]


@pytest.mark.parametrize(
    "name", ["of another machine", ".soundloom-0123456789ab.wav", ".soundloom-0123456789ab", ".soundloom-k3x_9abz"]
)
def test_what_cannot_be_judged_goes_after_a_week(tmp_path, name, monkeypatch):
    if name == "of another machine":
        name = unfinished_name("file").replace(leftovers._host(), "000000")
    path = tmp_path / name
    path.touch()
    assert stale_in(tmp_path) == []
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(path, (week_ago, week_ago))
    assert stale_in(tmp_path) == [path]


@pytest.mark.parametrize(
    "name", ["notes", "settings", "0123456789abc", "0123456789ab~", "0123456789abwav", "file-notes.wav", "k3x-9abz", ""]
)
def test_what_soundloom_never_wrote_is_kept_however_old(tmp_path, name):
    path = tmp_path / f".soundloom-{name}"
    path.mkdir()
    os.utime(path, (0, 0))
    assert stale_in(tmp_path) == []


def test_a_link_is_removed_and_not_followed(dead, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    link = tmp_path / dead[0].name.replace("file-", "folder-")
    link.symlink_to(tmp_path / "kept", target_is_directory=True)
    with atomic_file(tmp_path / "a"):
        assert not link.is_symlink()
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_umask_holds(tmp_path):
    before = os.umask(0o077)
    try:
        with new_folder(tmp_path / "folder") as folder, atomic_file(folder / "file") as file:
            file.write(b"private")
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "folder" / "file").stat().st_mode & 0o777 == 0o600


def test_an_older_folder_stays_until_the_new_one_is_whole(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(ZeroDivisionError), new_folder(folder) as new:
        (new / "new").touch()
        _ = 1 / 0
    assert [path.name for path in folder.iterdir()] == ["old"]
    with pytest.raises(WriteError, match=f"^{folder}/a could not be written"), new_folder(folder) as new:
        raise WriteError(f"{new}/a could not be written")
    with new_folder(folder) as new:
        (new / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_an_older_folder_that_cannot_be_put_back_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.rename

    def fail_to(path, target):
        if target == folder:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_to)
    with pytest.raises(OSError, match="no"), new_folder(folder):
        pass
    assert [path.name for path in tmp_path.rglob("old")] == ["old"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such owners")
@pytest.mark.parametrize("ours", [True, False])
def test_a_folder_gets_its_name_back_from_this_account_alone(dead, tmp_path, monkeypatch, ours):
    replaced = tmp_path / dead[1].name.replace("folder-", "replaced-")
    dead[1].rename(replaced)  # with its file "a"
    if not ours:
        monkeypatch.setattr(os, "getuid", lambda: replaced.stat().st_uid + 1)
    assert stale_in(tmp_path) == [dead[0]]
    assert not is_empty(tmp_path)
    with atomic_file(tmp_path / "b"):
        assert (tmp_path / "a").exists() == ours
        assert replaced.exists() != ours
    assert ours or (replaced / "a").exists()


def test_contents_are_on_disk_before_the_name_is(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    rename = Path.replace

    def replace(path, target):
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    with atomic_file(tmp_path / "a.bin") as file:
        file.write(b"1")
    assert [getattr(event, "suffix", event) for event in events] == [".bin", "rename", ""]
    assert events[-1] == tmp_path


@pytest.mark.skipif(os.name == "nt", reason="Windows does not lock folders")
def test_a_sound_and_its_sidecar_are_published_while_nobody_else_publishes(tmp_path):
    from soundloom.audio.metadata import read_record

    def save():
        Clip(np.zeros((1, 64), np.float32), 44100, {"prompt": "ours"}).save(tmp_path / "a.wav", sidecar=True)

    other = threading.Thread(target=save)
    with alone_in(tmp_path):
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert list(tmp_path.iterdir()) == []
    other.join()
    assert json.loads((tmp_path / "a.json").read_text())["prompt"] == read_record(tmp_path / "a.wav")["prompt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.wav"]


def test_sigterm_cleans_up_like_ctrl_c(tmp_path):
    script = (
        "import sys, time, pathlib\n"
        "from soundloom.atomic import new_folder\n"
        "from soundloom.cli.terminal.signals import stopping_by_signals\n"
        "with stopping_by_signals(), new_folder(pathlib.Path(sys.argv[1], 'out')) as new:\n"
        "    (new / 'half').touch(); print('ready', flush=True); time.sleep(60)\n"
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        command = [sys.executable, "-c", script, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            process.send_signal(number)
        assert list(tmp_path.iterdir()) == []
