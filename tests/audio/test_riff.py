"""Chunks that are added to WAV files."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from soundloom.audio.formats.chunks import chunks
from soundloom.audio.formats.riff import replace_chunks, replace_info
from soundloom.audio.write import write_audio


@pytest.fixture
def path(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((7, 1)), 8000, subtype="PCM_U8")  # an odd number of bytes
    return tmp_path / "a.wav"


def names(path):
    with path.open("rb") as file:
        return [chunk.name for chunk in chunks(file)]


def test_added_chunks_are_found_and_the_samples_stay(path):
    before, _ = soundfile.read(path)
    with path.open("rb+") as file:
        replace_chunks(file, {b"abcd": b"12345", b"efgh": b""})
    assert names(path)[-2:] == [b"abcd", b"efgh"]
    assert np.array_equal(soundfile.read(path)[0], before)
    assert int.from_bytes(path.read_bytes()[4:8], "little") == path.stat().st_size - 8


def test_an_older_chunk_of_the_name_becomes_junk(path):
    for data in (b"old", b"new"):
        with path.open("rb+") as file:
            replace_chunks(file, {b"abcd": data})
    assert names(path)[-2:] == [b"JUNK", b"abcd"]
    assert path.read_bytes().endswith(b"abcd\x03\0\0\0new\0")


def test_tags_replace_older_tags_but_no_other_list(path):
    with path.open("rb+") as file:
        replace_chunks(file, {b"LIST": b"adtlnote"})
        replace_info(file, {"INAM": "a"})
        replace_info(file, {"INAM": "b"})
    assert names(path)[-3:] == [b"LIST", b"JUNK", b"LIST"]
    assert b"adtlnote" in path.read_bytes() and path.read_bytes().endswith(b"INFOINAM\x02\0\0\0b\0")


def test_equal_audio_makes_equal_files_at_any_time(tmp_path):
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for file in files:
        write_audio(file, np.full((1, 100), 0.5, np.float32), 44100, subtype="FLOAT")
    with files[0].open("rb") as file:
        peak = next(chunk for chunk in chunks(file) if chunk.name == b"PEAK")
    data = files[0].read_bytes()
    assert data[peak.body + 4 : peak.body + 8] == bytes(4)  # the time, which libsndfile writes in seconds
    assert files[1].read_bytes() == data
