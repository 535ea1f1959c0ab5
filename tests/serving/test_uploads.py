"""Uploads, on the parts of a server that they need: a real database, store and decoding process."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.errors import AudioError, RequestError
from soundloom.serving import uploads
from soundloom.serving.jobs.settings import TooLargeError
from soundloom.serving.server import OBJECTS, Server, ServerSettings
from soundloom.serving.storage.takes import get_artifact
from soundloom.serving.worker.settings import WorkerSettings

TONE = 0.5 * np.sin(np.arange(44_100) * 0.05)


@pytest.fixture
def server(tmp_path):
    made = Server(ServerSettings(tmp_path, {"cpu": WorkerSettings(str(tmp_path / OBJECTS))}))
    yield made
    made.database.close()


def store(server, data, name="tone.wav", seconds=0.0):
    return asyncio.run(uploads.store_bytes(server, data, name, seconds))


def encoded(tmp_path, container, **options):
    path = tmp_path / "made"
    soundfile.write(path, TONE, 44_100, format=container, **options)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("container", "options", "subtype", "error"),
    [
        ("WAV", {"subtype": "PCM_16"}, "PCM_16", 1e-4),
        ("AIFF", {"subtype": "PCM_24"}, "PCM_24", 1e-6),
        ("FLAC", {}, "PCM_16", 1e-4),
        ("OGG", {}, "FLOAT", 0.1),
        ("MP3", {}, "FLOAT", 0.1),
    ],
)
def test_every_format_becomes_a_wav_that_jobs_can_read(server, tmp_path, container, options, subtype, error):
    artifact = store(server, encoded(tmp_path, container, **options), "a tone")
    assert (artifact.rate, artifact.channels, artifact.subtype) == (44_100, 1, subtype)
    assert artifact.name == "a tone"
    clip = Clip.load(server.store.path(artifact.hash))
    assert clip.samples == artifact.samples
    assert np.abs(clip.audio[0, :44_100] - TONE).max() < error
    assert asyncio.run(server.dispatcher.call(lambda c: get_artifact(c, artifact.hash))) == artifact
    assert asyncio.run(server.dispatcher.source_path(artifact.hash)) == str(server.store.path(artifact.hash))
    assert not list(server.store.folder.glob("*.part*"))


def test_the_first_seconds_can_be_kept(server, tmp_path):
    artifact = store(server, encoded(tmp_path, "WAV"), seconds=0.25)
    assert artifact.samples == 11_025


def test_the_record_of_an_uploaded_file_stays(server, tmp_path):
    path = tmp_path / "ours.wav"
    Clip(TONE[None].astype(np.float32), 44_100, {"prompt": "a tone"}).save(path)
    artifact = store(server, path.read_bytes())
    assert Clip.load(server.store.path(artifact.hash)).record["prompt"] == "a tone"


def wav(size, *, rate=44_100, channels=1, data=b"\0" * 8):
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + (b"data" + struct.pack("<I", size) + data)
    )


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"", AudioError, "is empty"),
        (b"just some text, named .wav", AudioError, "none of WAV, AIFF"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", AudioError, "MP4"),
        (b"RIFF\x04\0\0\0WAVE", AudioError, "cannot be read|cannot be decoded"),
        (b"fLaC" + bytes(64), AudioError, "cannot be read|cannot be decoded"),
        (b"\xff\xfb\x90\x00" + bytes(64), AudioError, "cannot be|no samples"),
        (wav(8, rate=4000), RequestError, "4000 Hz"),
        (wav(18, channels=9, data=bytes(18)), RequestError, "9 channels"),
        (wav(0, data=b""), AudioError, "no samples"),
        (b"OggS" + bytes(60), AudioError, "cannot be"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(server, data, error, text):
    with pytest.raises(error, match=text) as found:
        store(server, data)
    assert str(server.settings.data) not in str(found.value)
    assert not list(server.store.folder.glob("*.part*"))


def test_a_length_of_ffffffff_is_that_of_the_file(server):
    assert store(server, wav(0xFFFFFFFF, data=bytes(2000))).samples == 1000


def test_a_flac_that_claims_100_hours_is_refused_before_decoding(server, tmp_path):
    data = bytearray(encoded(tmp_path, "FLAC"))
    frames = 100 * 3600 * 44_100
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    with pytest.raises(RequestError, match="more than 20 minutes"):
        store(server, bytes(data))


def test_silence_that_decodes_to_hours_is_refused(server, tmp_path, monkeypatch):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC") as file:
        for _ in range(21):
            file.write(np.zeros(8000 * 60))
    with pytest.raises(RequestError, match="more than 20 minutes"):
        store(server, path.read_bytes())


def test_too_many_bytes_are_refused(server, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILE_BYTES", 100)
    with pytest.raises(TooLargeError):
        store(server, wav(200, data=bytes(200)))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
def test_decoders_have_little_memory():
    code = (
        "from soundloom.serving.decode import MEMORY_BYTES, limit_process\n"
        "limit_process()\n"
        "try: bytearray(MEMORY_BYTES)\n"
        "except MemoryError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.wav", "a.wav"),
        ("con.wav", "_con.wav"),
        (".hidden", "_.hidden"),
        ("a\0b\n.wav", "ab.wav"),
        ("\u202egnp.wav", "gnp.wav"),
        ("x" * 500, "x" * 120),
        ("", "upload"),
        ("..", "_.."),
    ],
)
def test_names_are_for_display_only(name, shown):
    assert uploads.display_name(name) == shown
