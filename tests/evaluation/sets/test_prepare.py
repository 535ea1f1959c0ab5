"""Published data sets in their layouts, a few sounds of each."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import soundfile

from soundloom.errors import AudioError, CorruptFileError, RequestError
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.layouts import Choice
from soundloom.evaluation.sets.manifest import read_set
from soundloom.evaluation.sets.prepare import loudest_start, prepare
from soundloom.evaluation.sets.prompts import read_prompts

SDD = """caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration
1,1004034,"A calm, slow piano",True,0,1,2,34/1004034.mp3,180.5
2,1004034,Piano with a female singer,True,0,1,2,34/1004034.mp3,180.5
3,200,Fast romantic techno,False,0,1,2,00/200.mp3,240
4,300,A choir sings,True,0,1,2,00/300.mp3,240
"""
MUSICCAPS = """ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,\
is_audioset_eval
-0Gj8-vB1q4,30,40,"/m/0140xf","['ballad', 'sad']","The low quality recording, a ballad",4,False,True
whole_video,12,22,/m/1,['x'],A guitar,4,False,False
short_piece,90,100,/m/1,['x'],A drum,4,False,True
"""
AUDIOCAPS = """audiocap_id,youtube_id,start_time,caption
101,abc-DEF_123,130,A woman talks nearby
102,abc-DEF_123,130,Water pours while a woman talks
103,xyz,20,A dog barks
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def run(name, source, **choice):
    done = prepare(name, source, source.parent / "out", Choice(**choice))
    return done, read_set(source.parent / "out"), read_prompts(source.parent / "out")


def test_song_describer_has_tracks_once_and_captions_each(source, noise):
    (source / "song_describer.csv").write_text(SDD)
    (source / "other.csv").write_text("a,b\n1,2\n")
    for name in ("audio/34/1004034.2min.mp3", "audio/00/200.2min.mp3"):
        noise(source / name, rate=44100, seconds=2)
    done, sounds, prompts = run("songdescriber", source)
    assert [(item.id, item.caption) for item in sounds.items] == [("1004034", "A calm, slow piano")]
    assert [prompt.id for prompt in prompts.prompts] == ["1", "2", "4"]
    assert done.left_out == {"300": "missing"} and sounds.items[0].read()[0].shape[1] == 88200
    assert (sounds.name, sounds.version) == ("song-describer-valid", "1.0 (Zenodo 10072001)")
    assert "CC BY-SA 4.0" in sounds.license and done.notes == (
        "the table has 4 captions of Song Describer, the published one 1106",
    )
    stored = json.loads((source.parent / "out/set.json").read_text())
    assert stored["left_out"] == {"300": "missing"} and stored["prompts_sha256"] == prompts.hash
    assert stored["sha256"] == sounds.hash and stored["seconds"]["median"] == pytest.approx(2, abs=0.1)


def test_song_describer_without_singing_and_by_ids(source, noise):
    (source / "song_describer.csv").write_text(SDD)
    noise(source / "1004034.mp3", rate=44100, seconds=2)
    noise(source / "200.mp3", rate=44100, seconds=2)
    _, sounds, prompts = run("songdescriber", source, subset="all", without_singing=True, seconds=1.5)
    assert [prompt.id for prompt in prompts.prompts] == ["1", "3"]  # "romantic" holds no "man"
    assert prompts.prompts[0].seconds == 1.5 and sounds.items[0].read()[0].shape[1] == 66150
    _, _, prompts = run("songdescriber", source / "song_describer.csv", subset="all", ids=frozenset("23"))
    assert [prompt.id for prompt in prompts.prompts] == ["2", "3"]


def test_musiccaps_takes_clips_or_cuts_them_from_whole_videos(source, noise):
    (source / "musiccaps-public.csv").write_text(MUSICCAPS)
    noise(source / "wav/[-0Gj8-vB1q4]-[30-40].wav", seconds=10)
    noise(source / "wav/whole_video.wav", seconds=25)
    noise(source / "wav/short_piece.wav", seconds=30)
    done, sounds, prompts = run("musiccaps", source)
    assert [(item.id, item.start, item.end) for item in sounds.items] == [
        ("-0Gj8-vB1q4", 0, None),
        ("whole_video", 12, 22),
    ]
    assert "neither the clip nor a video with 90-100 s" in done.left_out["short_piece"]
    assert len(prompts.prompts) == 3 and prompts.prompts[0].seconds == 10
    _, sounds, prompts = run("musiccaps", source, subset="eval", seconds=4)
    assert [prompt.id for prompt in prompts.prompts] == ["-0Gj8-vB1q4", "short_piece"]
    assert (sounds.items[0].start, sounds.items[0].end) == (0, 4)


def test_audiocaps_names_its_version(source, noise):
    (source / "test.csv").write_text(AUDIOCAPS)
    (source / "val.csv").write_text(AUDIOCAPS)
    noise(source / "test/Yabc-DEF_123.wav", seconds=10)
    noise(source / "test/xyz_20.flac", seconds=10)
    with pytest.raises(RequestError, match="3 captions, and version 1 of AudioCaps 4875"):
        run("audiocaps", source)
    done, sounds, prompts = run("audiocaps", source, release="2.0")
    assert (sounds.version, sounds.name, done.left_out) == ("2.0", "audiocaps-test", {})
    assert [item.id for item in sounds.items] == ["abc-DEF_123_130", "xyz_20"]
    assert [prompt.id for prompt in prompts.prompts] == ["101", "102", "103"]


def bbc_sounds(source, noise, names, seconds=7.0):
    for name in names:
        audio = noise(source / f"{name}.flac", seconds=seconds, rate=8000) * 0.1
        audio[:, 12000:20000] *= 8  # the loudest 5 s begin at or before 1.5 s
        soundfile.write(source / f"{name}.flac", audio.T, 8000)


def test_the_bbc_subset_is_fixed_by_hashes(source, noise):
    rows = [("a", "Wind in trees", 7), ("b", "A door closes", 9), ("c", "Rain", 60), ("d", "A short click", 2)]
    rows += [("e", "Waves on rocks", 7)]
    (source / "BBCSoundEffects.csv").write_text(
        "location,description,secs,category,CDNumber,CDName,tracknum\n"
        + "".join(f'{name}.wav,"{text}",{seconds},Nature,CD 1,Sea,1\n' for name, text, seconds in rows)
    )
    bbc_sounds(source, noise, "abe")
    expected = sorted("abe", key=lambda name: hashlib.sha256(name.encode()).digest())
    _, sounds, prompts = run("bbc", source)
    assert [item.id for item in sounds.items] == [prompt.id for prompt in prompts.prompts] == expected
    assert all(item.end == item.start + 5 and item.start <= 1.5 for item in sounds.items)
    assert prompts.prompts[0].seconds == 5 and "not to be redistributed" in sounds.license
    _, sounds, _ = run("bbc", source, count=2)
    assert [item.id for item in sounds.items] == expected[:2]


def test_missing_sounds_do_not_change_the_bbc_prompts(source, noise):
    data = [{"id": f"NHU{number}", "caption": "Wind in trees", "duration": 7.0} for number in range(6)]
    (source / "bbc_final.json").write_text(json.dumps({"num_captions_per_audio": 1, "data": data}))
    bbc_sounds(source, noise, ["NHU1", "NHU4"])
    soundfile.write(source / "NHU2.flac", np.zeros(8000), 8000)
    soundfile.write(source / "NHU3.flac", np.zeros(80000), 8000)
    (source / "NHU5.flac").write_bytes(b"fLaC")
    done, sounds, prompts = run("bbc", source)
    assert {item.id for item in sounds.items} == {"NHU1", "NHU4"} and len(prompts.prompts) == 6
    assert done.left_out["NHU0"] == "missing" and "1 s, less than 5 s" in done.left_out["NHU2"]
    assert "silent" in done.left_out["NHU3"] and "NHU5" in done.left_out["NHU5"] and sounds.version == "WavCaps"
    (source / "NHU0.flac").write_bytes((source / "NHU1.flac").read_bytes())
    assert run("bbc", source)[2].hash == prompts.hash


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_the_loudest_part_is_found_in_any_channel(tmp_path, rate):
    audio = np.full((20 * rate, 2), 0.01)
    audio[round(7.2 * rate) : round(12.2 * rate), 1] = 0.5
    soundfile.write(tmp_path / "a.wav", audio, rate)
    assert loudest_start(SoundItem("a", tmp_path / "a.wav"), 5.0) == 7.2
    soundfile.write(tmp_path / "a.wav", np.full(6 * rate, 0.1), rate)
    assert loudest_start(SoundItem("a", tmp_path / "a.wav"), 5.0) == 0  # the first of equal ones
    soundfile.write(tmp_path / "a.wav", np.full(6 * rate, np.nan), rate, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        loudest_start(SoundItem("a", tmp_path / "a.wav"), 5.0)


def test_sources_that_cannot_be_read_are_rejected(source, noise):
    with pytest.raises(RequestError, match="no table of bbc"):
        run("bbc", source)
    (source / "bbc_final.json").write_text("[]")
    with pytest.raises(CorruptFileError, match="no list 'data'"):
        run("bbc", source)
    (source / "x.csv").write_text("location,description\na.wav,b\n")
    with pytest.raises(CorruptFileError, match="no column secs"):
        run("bbc", source / "x.csv")
    (source / "song_describer.csv").write_text(SDD)
    with pytest.raises(RequestError, match=r"none of the 2 sounds .*\n.*1004034\.2min\.wav"):
        run("songdescriber", source)
    with pytest.raises(RequestError, match="no subset 'eval'"):
        run("songdescriber", source, subset="eval")
    with pytest.raises(RequestError, match="no caption"):
        run("songdescriber", source, ids=frozenset())
    for name in ("one.csv", "two.csv"):
        (source / name).write_text(MUSICCAPS)
    with pytest.raises(RequestError, match=r"several tables: one\.csv, two\.csv"):
        run("musiccaps", source)
    with pytest.raises(RequestError, match="there is no"):
        run("musiccaps", source / "nowhere")
    assert not (source.parent / "out").exists()


def test_the_command_lists_what_is_left_out(source, noise, capsys):
    from soundloom.cli.main import main

    (source / "song_describer.csv").write_text(SDD)
    noise(source / "1004034.2min.mp3", rate=44100, seconds=2)
    (source / "ids.txt").write_text("1\n4\n")
    out = source.parent / "out"
    command = ["eval", "prepare", "songdescriber", str(source), str(out), "--ids", str(source / "ids.txt")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "1 sounds, 2 prompts" in printed and "left out 1 sounds" in printed and "300: missing" in printed
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == {"300": "missing"}
    assert main(["eval", "prepare", "slakh", str(source), str(out)]) == 2
    assert main([*command, "--size", "0"]) == 2
