"""Tempo and loop points in files, read by libsndfile and mutagen."""

from __future__ import annotations

import struct

import mutagen
import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.sampler import SamplerFacts

LOOP = {"soundloom": "1", "loop": {"bpm": 117.5, "bars": 2.0, "meter": "6/8", "beats": 12}}
LOOP_INFO, INSTRUMENT = 0x10E0, 0x10D0  # commands of libsndfile


def libsndfile(path, command, size):
    """Ask libsndfile for a structure; None if the file has none."""
    with soundfile.SoundFile(path) as file:
        data = soundfile._ffi.new(f"char[{size}]")
        found = soundfile._snd.sf_command(file._file, command, data, size)
        return bytes(soundfile._ffi.buffer(data)) if found else None


def loop_info(path):
    data = libsndfile(path, LOOP_INFO, 44)
    return data and dict(
        zip(("beats", "unit", "mode", "count", "bpm"), struct.unpack_from("<hhiif", data), strict=True)
    )


def loop_points(path):
    data = libsndfile(path, INSTRUMENT, 272)
    return data and struct.unpack_from("<iiII", data, 12)  # count, mode, start, end


def save(tmp_path, record, name="a.wav", samples=90_031, **options):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, samples)).astype(np.float32)
    return Clip(audio, 44100, record).save(tmp_path / name, **options)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_samplers_find_the_loop_and_its_tempo(tmp_path, subtype):
    path = save(tmp_path, LOOP, subtype=subtype)
    count, _, start, end = loop_points(path)
    assert (count, start, end) == (1, 0, 90_031)  # libsndfile counts the end as excluded
    found = loop_info(path)
    assert (found["beats"], found["unit"], found["count"]) == (6, 8, 12)
    assert found["bpm"] == pytest.approx(117.5)


def test_loop_points_are_those_of_the_written_rate(tmp_path):
    path = save(tmp_path, LOOP, rate=48000)
    frames = soundfile.info(path).frames
    assert frames == round(90_031 * 48000 / 44100)
    assert loop_points(path)[3] == frames


def test_other_clips_have_no_loop(tmp_path):
    path = save(tmp_path, {"soundloom": "1", "request": {"prompt": "rain"}})
    assert loop_points(path) is None and loop_info(path) is None


def test_a_loop_without_a_tempo_has_loop_points_alone(tmp_path):
    path = save(tmp_path, {"soundloom": "1", "loop": {}})
    assert loop_points(path) is not None and loop_info(path) is None


@pytest.mark.parametrize(("name", "tag"), [("a.wav", "TBPM"), ("a.mp3", "TBPM"), ("a.flac", "bpm"), ("a.ogg", "bpm")])
def test_tags_keep_the_tempo_of_loops_and_other_clips(tmp_path, name, tag):
    for record in (LOOP, {"soundloom": "1", "request": {"prompt": "kick", "bpm": 117.5}}):
        path = save(tmp_path, record, name)
        value = mutagen.File(path).tags[tag]
        assert str(value[0] if isinstance(value, list) else value) == "117.5"
        assert Clip.load(path).record == {**Clip.load(path).record, **record}


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_game_engines_find_the_loop(tmp_path, name):
    tags = mutagen.File(save(tmp_path, LOOP, name)).tags
    assert (tags["LOOPSTART"], tags["LOOPLENGTH"]) == (["0"], ["90031"])


@pytest.mark.parametrize(
    "record",
    [
        {"loop": "yes"},
        {"loop": {"bpm": "fast", "beats": -1, "meter": 4}},
        {"loop": {"bpm": 1e300, "beats": 2**40, "meter": "99999999/4"}},
        {"loop": {"bpm": True, "beats": 1.5, "meter": "four/4"}},
        {"request": {"bpm": -5}},
        {"request": []},
    ],
)
def test_odd_records_are_no_obstacle(tmp_path, record):
    facts = SamplerFacts.of(record)
    assert (facts.meter, facts.beats, facts.bpm) == ((4, 4), None, None)
    assert soundfile.info(save(tmp_path, {"soundloom": "1", **record})).frames == 90_031
