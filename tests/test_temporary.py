"""Temporary files of killed processes: recognized, removed by the next process, never mistaken for content."""

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

from soundloom import Clip
from soundloom.atomic import atomic_file, atomic_folder, atomic_path, locked_folder
from soundloom.errors import WriteError
from soundloom.temporary import is_empty, stale_in, temporary_name


@pytest.fixture
def dead(tmp_path):
    """Create a temporary file and folder in a process that is then killed."""
    script = (
        "import os, pathlib, signal, sys; from soundloom.temporary import temporary_name\n"
        "pathlib.Path(sys.argv[1], temporary_name('file', '.npy')).touch()\n"
        "folder = pathlib.Path(sys.argv[1], temporary_name('folder')); folder.mkdir(); (folder / 'a').touch()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    found = sorted(tmp_path.iterdir())
    assert len(found) == 2
    return found


def test_a_name_identifies_its_process():
    name = temporary_name("file", ".wav")
    assert name.startswith(f".soundloom-file-{os.getpid()}-")
    assert name.endswith(".wav")
    assert name != temporary_name("file", ".wav")


def test_files_of_a_killed_process_are_removed_before_the_next_write(dead, tmp_path):
    assert sorted(stale_in(tmp_path)) == dead
    assert is_empty(tmp_path)
    with atomic_path(tmp_path / "a.txt") as new:
        assert list(tmp_path.iterdir()) == [new]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_files_of_a_running_process_are_kept(tmp_path):
    ours = tmp_path / temporary_name("file")
    ours.touch()
    assert stale_in(tmp_path) == []
    assert not is_empty(tmp_path)


def test_a_reused_pid_does_not_protect_files_of_the_earlier_process(tmp_path):
    ours = temporary_name("file")
    start = ours.split("-")[3]
    other = tmp_path / ours.replace(start, "0123abcd")
    other.touch()
    assert stale_in(tmp_path) == [other]


def test_files_of_another_host_are_stale_after_a_week(tmp_path):
    before, _, last = temporary_name("file").rpartition("-")
    path = tmp_path / f"{before}-000000{last[6:]}"
    path.touch()
    assert stale_in(tmp_path) == []
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(path, (week_ago, week_ago))
    assert stale_in(tmp_path) == [path]


@pytest.mark.parametrize(
    "name", ["notes", "settings", "0123456789abc", "0123456789ab~", "0123456789abwav", "file-notes.wav", "k3x-9abz", ""]
)
def test_foreign_names_are_never_stale(tmp_path, name):
    path = tmp_path / f".soundloom-{name}"
    path.mkdir()
    os.utime(path, (0, 0))
    assert stale_in(tmp_path) == []


def test_a_stale_link_is_removed_and_not_followed(dead, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    link = tmp_path / dead[0].name.replace("file-", "folder-")
    link.symlink_to(tmp_path / "kept", target_is_directory=True)
    with atomic_file(tmp_path / "a"):
        assert not link.is_symlink()
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_new_files_follow_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with atomic_folder(tmp_path / "folder") as folder, atomic_file(folder / "file") as file:
            file.write(b"private")
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "folder" / "file").stat().st_mode & 0o777 == 0o600


def test_the_old_folder_stays_until_the_new_one_is_complete(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(ZeroDivisionError), atomic_folder(folder) as new:
        (new / "new").touch()
        _ = 1 / 0
    assert [path.name for path in folder.iterdir()] == ["old"]
    with pytest.raises(WriteError, match=f"^{folder}/a could not be written"), atomic_folder(folder) as new:
        raise WriteError(f"{new}/a could not be written")
    with atomic_folder(folder) as new:
        (new / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_an_old_folder_that_cannot_be_restored_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.rename

    def fail_to(path, target):
        if target == folder:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_to)
    with pytest.raises(OSError, match="no"), atomic_folder(folder):
        pass
    assert [path.name for path in tmp_path.rglob("old")] == ["old"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such owners")
@pytest.mark.parametrize("ours", [True, False])
def test_only_the_own_account_restores_a_folder(dead, tmp_path, monkeypatch, ours):
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


def test_contents_are_synced_before_the_rename(tmp_path, monkeypatch):
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
def test_an_audio_file_and_its_sidecar_are_published_under_a_folder_lock(tmp_path):
    from soundloom.audio.metadata import read_record

    def save():
        Clip(np.zeros((1, 64), np.float32), 44100, {"prompt": "ours"}).save(tmp_path / "a.wav", sidecar=True)

    other = threading.Thread(target=save)
    with locked_folder(tmp_path):
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
        "from soundloom.atomic import atomic_folder\n"
        "from soundloom.cli.terminal.signals import stopping_by_signals\n"
        "with stopping_by_signals(), atomic_folder(pathlib.Path(sys.argv[1], 'out')) as new:\n"
        "    (new / 'half').touch(); print('ready', flush=True); time.sleep(60)\n"
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        command = [sys.executable, "-c", script, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            process.send_signal(number)
        assert list(tmp_path.iterdir()) == []
