"""Damaged and truncated audio files, and files that demand much memory or time."""

import io
import logging
import os
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record
from soundloom.audio.read import decode, read_audio
from soundloom.audio.write import write_audio
from soundloom.errors import AudioError
from tests.robustness.mutators.media import count, damaged, generator, refusal

RATE = 44100
RECORD = {"model": "mini", "seed": 1, "request": {"prompt": "rain"}}
FORMATS = ("wav", "flac", "ogg", "mp3")
UNTAGGED = (("AIFF", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"),
            ("WAVEX", "PCM_24"), ("WAV", "MS_ADPCM"), ("WAV", "IMA_ADPCM"), ("OGG", "OPUS"))  # fmt: skip
LIMIT_BYTES = 2 * 2**30


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Return the bytes of small files by suffix, with metadata where the format supports it."""
    folder, found = tmp_path_factory.mktemp("originals"), []
    for ending in FORMATS:
        path = folder / f"a.{ending}"
        write_audio(path, noise(3000), RATE, record=RECORD)
        found.append((ending, path.read_bytes()))
    for form, subtype in UNTAGGED:
        file = io.BytesIO()
        soundfile.write(file, noise(3000).T, 48000 if subtype == "OPUS" else RATE, format=form, subtype=subtype)
        found.append((form.lower().replace("wavex", "wav"), file.getvalue()))
    return found


def read_damaged(name, number, originals, folder):
    rng = generator(name, number)
    ending, data = originals[int(rng.integers(len(originals)))]
    path = folder / f"a.{ending}"
    path.write_bytes(damaged(data, rng))
    refusal(lambda: Clip.load(path))
    refusal(lambda: read_record(path))
    refusal(lambda: decode(io.BytesIO(path.read_bytes()), "a member"))


@pytest.mark.parametrize("number", range(count(300)))
def test_damaged_files_are_read_or_rejected(number, originals, tmp_path):
    read_damaged("audio", number, originals, tmp_path)


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_or_rejected(originals, tmp_path):
    for number in range(count(4000)):
        read_damaged("slow audio", number, originals, tmp_path)


# Rates


@pytest.mark.parametrize("rate", [4000, 768_000])
def test_sample_rates_at_the_limits_are_accepted(tmp_path, rate):
    write_audio(tmp_path / "a.wav", noise(500), rate)
    assert read_audio(tmp_path / "a.wav")[1] == rate


@pytest.mark.parametrize("rate", [1, 2, 3999, 768_001, 2**31 - 1])
def test_other_sample_rates_are_rejected_before_decoding(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros(40_000, np.int16), rate)
    began = time.process_time()
    with pytest.raises(AudioError, match=f"has a sample rate of {rate} Hz; it must be an integer from 4000"):
        Clip.load(tmp_path / "a.wav")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("rate", [1, 3999, 768_001, 2**31 - 1])
def test_clips_are_not_saved_at_other_sample_rates(tmp_path, rate):
    clip = Clip(noise(500), RATE)
    with pytest.raises(AudioError, match="rate"):
        clip.save(tmp_path / "a.wav", rate=rate)
    assert list(tmp_path.iterdir()) == []


# Files that end early


@pytest.mark.parametrize(("form", "subtype"), [*UNTAGGED, ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("OGG", "VORBIS"),
                                               ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16")])  # fmt: skip
@pytest.mark.parametrize("part", [0.3, 0.5, 0.95])
def test_a_truncated_file_is_rejected_or_read_with_a_warning(tmp_path, caplog, form, subtype, part):
    if form == "CAF" and part == 0.95:
        pytest.skip("libsndfile refuses most of these, and gives no length")
    file, path = io.BytesIO(), tmp_path / "a.x"
    soundfile.write(file, noise(100_000).T, 48000 if subtype == "OPUS" else RATE, format=form, subtype=subtype)
    whole = file.getvalue()
    path.write_bytes(whole)
    assert read_audio(path)[0].shape[1] >= 100_000
    assert caplog.text == ""
    path.write_bytes(whole[: int(len(whole) * part)])
    try:
        audio, _, _ = read_audio(path)
    except AudioError:
        assert form in ("CAF", "FLAC", "OGG")
    else:
        assert audio.shape[1] < 100_000
        assert "is truncated" in caplog.text


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFF000 + 100])
def test_placeholder_sizes_of_streaming_writers_are_accepted(tmp_path, caplog, size):
    soundfile.write(tmp_path / "a.wav", noise(1000).T, RATE, subtype="PCM_16")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    place = data.index(b"data") + 4
    data[4:8] = data[place : place + 4] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(data)
    assert read_audio(tmp_path / "a.wav")[0].shape == (2, 1000)
    assert caplog.text == ""


# Bombs


def seven_bits(number):
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(frames, version=4):
    return b"ID3" + bytes([version, 0, 0]) + seven_bits(len(frames)) + frames


def frame(name, data, flags=b"\0\0"):
    return name + seven_bits(len(data)) + flags + data


@pytest.fixture
def mp3(tmp_path):
    write_audio(tmp_path / "plain.mp3", noise(20_000), RATE)
    return (tmp_path / "plain.mp3").read_bytes()


def compressed_frames(mp3):
    packed = zlib.compress(bytes(2**28), 9)
    bomb = frame(b"TXXX", seven_bits(2**28 - 1) + packed, b"\0\x09")
    return id3(bomb * 4) + mp3


def many_frames(mp3):
    return id3(frame(b"TXXX", b"\0a\0b") * 90_000) + mp3


def many_comments(mp3):
    comments = b"\x01\0\0\0a=" * 1_500_000
    block = bytes(4) + struct.pack("<I", 1_500_000) + comments
    return b"fLaC" + b"\x04" + len(block).to_bytes(3) + block + bytes(100)


def many_blocks(mp3):
    return b"fLaC" + b"\x01\0\0\0" * 2_000_000


def many_chunks(mp3):
    return b"RIFF\xff\xff\xff\x7fWAVE" + b"JUNK\0\0\0\0" * 1_000_000


def long_silence(mp3):
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 2, format="FLAC", subtype="PCM_16") as out:
        for _ in range(400):
            out.write(np.zeros((2**19, 2), np.int16))
    return file.getvalue()


def promised_hours(mp3):
    file = io.BytesIO()
    soundfile.write(file, noise(5000).T, RATE, format="FLAC")
    data = bytearray(file.getvalue())
    data[21:26] = bytes([data[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # 36 bits of samples
    return bytes(data)


def no_length(mp3):
    data = bytearray(long_silence(mp3))
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    return bytes(data)


READ = """
import resource, sys, time
from soundloom.audio.clip import Clip
from soundloom.errors import SoundloomError
import numpy, soundfile, soxr
began = time.process_time()  # of this process: others may use the machine too
try:
    print(Clip.load(sys.argv[1]).samples)
except SoundloomError as error:
    print("refused:", error.args[0])
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.parametrize(
    "bomb",
    [
        many_frames,
        many_comments,
        many_blocks,
        many_chunks,
        promised_hours,
        pytest.param(compressed_frames, marks=pytest.mark.slow),
        pytest.param(long_silence, marks=pytest.mark.slow),
        pytest.param(no_length, marks=pytest.mark.slow),
    ],
)
def test_small_files_take_little_time_and_memory(tmp_path, mp3, bomb):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.mp3"
    path.write_bytes(bomb(mp3))
    assert path.stat().st_size < 10 * 10**6

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=limit, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    seconds, memory = map(float, done.stdout.splitlines()[-1].split())
    assert (seconds < 10, memory < LIMIT_BYTES) == (True, True), done.stdout


@pytest.mark.parametrize("bomb", [pytest.param(compressed_frames, marks=pytest.mark.slow), many_frames])
def test_hostile_tags_do_not_prevent_reading(tmp_path, mp3, caplog, bomb):
    caplog.set_level(logging.WARNING)
    (tmp_path / "a.mp3").write_bytes(bomb(mp3))
    assert Clip.load(tmp_path / "a.mp3").samples == 20_000
    assert ("more than 4096 frames" in caplog.text) == (bomb is many_frames)


def test_a_utf_16_record_after_a_picture_is_found(tmp_path, mp3):
    text = b"\x01" + "SOUNDLOOM\0".encode("utf-16") + '{"soundloom": "1", "seed": 7}'.encode("utf-16")
    size = len(text).to_bytes(4)
    frames = frame(b"APIC", bytes(100_000)).replace(seven_bits(100_000), (100_000).to_bytes(4))
    (tmp_path / "a.mp3").write_bytes(id3(frames + b"TXXX" + size + b"\0\0" + text, version=3) + mp3)
    assert read_record(tmp_path / "a.mp3") == {"soundloom": "1", "seed": 7}


def test_a_file_name_that_is_not_unicode_is_escaped(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\x1b[31m.wav")
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert r"caf\xe9\x1b[31m.wav" in str(caught.value)
