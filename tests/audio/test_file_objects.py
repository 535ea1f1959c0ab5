import errno
import io
import logging
import os
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import pytest

from soundloom import atomic
from soundloom.audio.clip import Clip
from soundloom.audio.formats.containers import SourceFormat
from soundloom.errors import AudioError, RequestError, WriteError

RATE = 44100
RECORD = {"prompt": "a bell", "seed": 3, "model": "mini"}
FORMATS = ("wav", "flac", "ogg", "mp3")


def clip(peak=0.5, **fields):
    wave = peak * np.sin(2 * np.pi * 441 * np.arange(RATE // 4) / RATE)
    return Clip(np.stack([wave, -wave]), RATE, **fields)


class Pipe:
    """A file object without seek, like a socket."""

    def __init__(self, data=b""):
        self.data = data

    def write(self, data):
        self.data += bytes(data)

    def read(self):
        return self.data


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_are_those_of_a_file_and_carry_the_record(tmp_path, format):
    data = clip(record=RECORD).to_bytes(format)
    path = clip(record=RECORD).save(tmp_path / f"a.{format}")
    back, from_file = Clip.load(io.BytesIO(data)), Clip.load(path)
    assert back.audio.tobytes() == from_file.audio.tobytes()
    assert (back.sample_rate, back.source_format) == (RATE, from_file.source_format)
    assert back.record == from_file.record and RECORD.items() <= back.record.items()
    if format != "ogg":  # whose serial number is drawn
        assert data == path.read_bytes()


def test_options_of_save_apply_to_bytes():
    back = Clip.load(io.BytesIO(clip().to_bytes("WAV", subtype="PCM_16", rate=48000)))
    assert (back.sample_rate, back.source_format) == (48000, SourceFormat("WAV", "PCM_16"))


def test_the_name_of_an_open_file_chooses_the_format(tmp_path):
    with (tmp_path / "a.flac").open("wb") as file:
        assert clip().save(file) is None
    with (tmp_path / "a.flac").open("rb") as file:
        assert Clip.load(file).source_format == SourceFormat("FLAC", "PCM_24")


def test_reading_and_writing_start_at_the_file_position():
    file = io.BytesIO()
    file.write(b"before")
    clip().save(file, format=".wav")
    file.seek(len(b"before"))
    assert Clip.load(file).samples == RATE // 4


def test_files_need_not_be_seekable(tmp_path):
    pipe = Pipe()
    clip(record=RECORD).save(pipe, format="wav")
    assert Clip.load(pipe).record["seed"] == 3
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, archive.open("a.wav", "w") as member:
        clip().save(member, format="wav")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("a.wav") as member:
        assert Clip.load(member).samples == RATE // 4


def test_warnings_name_the_file_object(caplog):
    with caplog.at_level(logging.WARNING):
        data = clip(peak=2.0, record=RECORD).to_bytes()
    assert caplog.messages[0].startswith("the file object: the peak was 2 times full scale; the clip was attenuated")
    assert "attenuated" in Clip.load(io.BytesIO(data)).record["warnings"][0]


def test_audio_with_damaged_tags_loads(caplog):
    data = clip(record=RECORD).to_bytes("mp3").replace(b'{"soundloom"', b'x"soundloom"')
    with caplog.at_level(logging.WARNING):
        assert Clip.load(io.BytesIO(data)).record == {}
    assert "the SOUNDLOOM tag of the file object is damaged" in caplog.text


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (io.BytesIO(), r"the file object is empty \(0 bytes\)"),
        (io.BytesIO(b"no sound at all, but text" * 100), "the file object cannot be read as audio"),
        (io.StringIO("text"), "the file object returns str, not bytes"),
        (5, "from a path or a file object, not int"),
    ],
)
def test_objects_that_cannot_be_loaded(file, sentence):
    with pytest.raises(AudioError, match=sentence):
        Clip.load(file)


@pytest.mark.parametrize(
    ("file", "options", "error", "sentence"),
    [
        (io.BytesIO(), {}, AudioError, "has no format\nhint: pass format, one of wav, flac, ogg, mp3"),
        (io.BytesIO(), {"format": "aac"}, AudioError, "the format 'aac' cannot be written"),
        (io.BytesIO(), {"format": "wav", "sidecar": True}, RequestError, "cannot have a sidecar"),
        (io.StringIO(), {"format": "wav"}, AudioError, "does not accept bytes"),
        (5, {"format": "wav"}, AudioError, "to a path or a file object, not int"),
        ("a.wav", {"format": "flac"}, RequestError, "the suffix of a path selects its format"),
    ],
)
def test_objects_that_cannot_be_saved(tmp_path, monkeypatch, file, options, error, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=sentence):
        clip().save(file, **options)
    assert not list(tmp_path.iterdir())


def test_a_failure_names_the_file_object_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = io.BytesIO()
    with pytest.raises(AudioError, match="the file object was not written: the clip has no samples"):
        Clip(np.zeros((2, 0)), RATE).save(file, format="wav")
    assert not file.getvalue() and not list(tmp_path.iterdir())


def test_a_full_disk_for_the_temporary_file_names_the_file_object(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(atomic, "sync_file", full)
    with pytest.raises(WriteError, match=r"^the file object could not be written: No space left on device\n"):
        clip().to_bytes()
    assert not list(tmp_path.iterdir())


def test_a_missing_temporary_folder_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(WriteError, match="a temporary file could not be written: No such file"):
        clip().to_bytes()


def test_temporary_files_of_a_killed_process_are_removed(tmp_path, monkeypatch):
    script = (
        "import os, signal; import numpy as np; from soundloom import Clip\n"
        "class Killer:\n    def write(self, data): os.kill(os.getpid(), signal.SIGKILL)\n"
        "Clip(np.zeros((1, 64), np.float32), 44100).save(Killer(), format='wav')"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=False, env=environment)
    (left,) = tmp_path.iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert clip().to_bytes()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_behind_a_file_object_is_reported():
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(WriteError, match="No space left"):  # noqa: PTH123
        clip().save(full, format="wav")
