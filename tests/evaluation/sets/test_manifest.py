"""Sets of sounds from folders, tables and set.json."""

import json

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.errors import AudioError, CorruptFileError, RequestError
from soundloom.evaluation.sets.manifest import SoundItem, SoundSet, read_set, write_set


def table(folder, *rows, name="sounds.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_folder_has_its_sidecar_captions(tmp_path, noise):
    audio = noise(tmp_path / "b/ü 雨.flac", channels=2)
    noise(tmp_path / "a.wav")
    (tmp_path / "b/ü 雨.txt").write_text("rain on a roof")
    sounds = read_set(tmp_path)
    assert [(item.id, item.caption) for item in sounds.items] == [("a.wav", ""), ("b/ü 雨.flac", "rain on a roof")]
    found, rate = sounds.items[1].read()
    assert rate == 8000 and found.shape == audio.shape and found.dtype == np.float32
    assert np.abs(found - audio).max() < 2**-15


def test_captions_from_tags_do_not_depend_on_the_name(tmp_path, noise):
    from mutagen.flac import FLAC

    noise(tmp_path / "a.flac")
    tags = FLAC(tmp_path / "a.flac")
    tags.update({"genre": "jazz", "mood": "calm", "bpm": "90"})
    tags.save()
    (tmp_path / "b.flac").write_bytes((tmp_path / "a.flac").read_bytes())
    first, second = read_set(tmp_path).items
    assert first.caption == second.caption != ""


def test_generated_clips_state_their_prompt_and_seed(tmp_path):
    clip = Clip(np.full((2, 4410), 0.1, np.float32), 44100, {"prompt": "a bell", "seed": 7, "model": "mini"})
    clip.save(tmp_path / "a.wav")
    (item,) = read_set(tmp_path).items
    assert (item.prompt, item.caption, item.seed) == ("a bell", "a bell", 7)


def test_a_table_names_cuts_relative_to_itself(tmp_path, noise):
    audio = noise(tmp_path / "deep/a.wav", seconds=2)
    (tmp_path / "deep/sounds.csv").write_text(
        'path, caption, start, end\na.wav, "rain, then wind", 0.5, 1.25\na.wav, whole, ,\n'
    )
    cut, whole = read_set(tmp_path / "deep/sounds.csv").items
    assert (cut.id, cut.caption, whole.id) == ("a.wav@0.5-1.25", "rain, then wind", "a.wav")
    assert np.array_equal(cut.read()[0], audio[:, 4000:10000])
    assert np.array_equal(whole.read()[0], audio)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_a_cut_is_that_part_of_the_whole_to_the_bit(tmp_path, noise, ending):
    noise(tmp_path / f"a.{ending}", seconds=8, rate=44100)
    whole = SoundItem("a", tmp_path / f"a.{ending}").read()[0]
    cut = SoundItem("a", tmp_path / f"a.{ending}", start=3.3, end=5.7).read()[0]
    assert np.array_equal(cut, whole[:, round(3.3 * 44100) : round(5.7 * 44100)])


def test_long_files_are_read_in_blocks(tmp_path, noise):
    audio = noise(tmp_path / "a.wav", seconds=60)
    with SoundItem("a", tmp_path / "a.wav", start=1, end=59).open() as sound:
        blocks = list(sound.blocks())
    assert len(blocks) > 3 and (sound.rate, sound.channels, sound.claimed) == (8000, 1, 464000)
    assert np.array_equal(np.concatenate(blocks, axis=1), audio[:, 8000:472000])


def test_values_that_are_not_finite_are_read_for_the_checks_to_find(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 2.0]), 8000, subtype="FLOAT")
    audio, _ = SoundItem("a", tmp_path / "a.wav").read()
    assert np.isnan(audio[0, 1]) and audio[0, 2] == 2.0


def test_sounds_that_cannot_be_read_stay_in_the_set(tmp_path, noise):
    noise(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFF....")
    names = ("good.wav", "bad.wav", "lost.wav")
    sounds = read_set(table(tmp_path, *({"path": name, "caption": "x"} for name in names)))
    assert [item.id for item in sounds.missing] == ["lost.wav"]
    assert sounds.durations[0] == 0.5 and np.isnan(sounds.durations[1:]).all()
    for item in sounds.items[1:]:
        with pytest.raises(AudioError, match=item.id):
            item.read()
    assert sounds.facts()["unreadable"] == 2 and len(sounds.hash) == 64


def test_a_cut_beyond_the_end_cannot_be_read(tmp_path, noise):
    noise(tmp_path / "a.wav")
    assert SoundItem("a", tmp_path / "a.wav", start=0.25, end=3).read()[0].shape == (1, 2000)
    with pytest.raises(AudioError, match=r"0\.50 s, nothing of 2-3 s"):
        SoundItem("a", tmp_path / "a.wav", start=2, end=3).read()


def test_sets_without_sounds_or_with_repeated_ids_are_rejected(tmp_path, noise):
    noise(tmp_path / "a.wav")
    with pytest.raises(RequestError, match="has no sounds"):
        read_set(table(tmp_path))
    with pytest.raises(RequestError, match="1 ids more than once: x"):
        read_set(table(tmp_path, *({"path": "a.wav", "id": "x", "start": start} for start in (0, 0.1))))
    with pytest.raises(RequestError, match=r"none of the 1 sounds .*lost\.wav"):
        read_set(table(tmp_path, {"path": "lost.wav"}))
    with pytest.raises(RequestError, match="there is no"):
        read_set(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"path": "a.wav", "start": "soon"}, "line 1 of .* has start 'soon'"),
        ({"path": "a.wav", "start": 2, "end": 1}, "line 1 of .* 2-1 s"),
        ({"path": "a.wav", "seed": -1}, "line 1 of .* has seed"),
        ({"sound": "a.wav"}, "no column path"),
        ({"path": "a\0.wav"}, "line 1 of .* not a file name"),
        ({"path": ""}, "line 1 of .* has no path"),
    ],
)
def test_damaged_rows_are_named(tmp_path, noise, row, message):
    noise(tmp_path / "a.wav")
    with pytest.raises(CorruptFileError, match=message):
        read_set(table(tmp_path, row))


def test_a_written_set_is_read_again_wherever_it_lies(tmp_path, noise):
    noise(tmp_path / "sounds/a.wav")
    noise(tmp_path / "sounds/b.wav", seed=1)
    items = (
        SoundItem("1", tmp_path / "sounds/a.wav", "rain", 0.1, 0.3, "rain!", 3, 5.0),
        SoundItem("2", tmp_path / "sounds/b.wav"),
    )
    sounds = SoundSet("mine", items, "CC0", "2")
    (tmp_path / "out").mkdir()
    write_set(tmp_path / "out/set.json", sounds, {"note": "x"})
    tmp_path.rename(moved := tmp_path.with_name(f"{tmp_path.name} moved"))
    found = read_set(moved / "out")
    assert (found.name, found.license, found.version, found.hash) == ("mine", "CC0", "2", sounds.hash)
    assert found.items[0].read()[0].shape == (1, 1600) and not found.changed
    assert (found.items[0].caption, found.items[0].prompt, found.items[0].seed) == ("rain", "rain!", 3)
    noise(moved / "sounds/b.wav", seed=2)
    assert read_set(moved / "out").changed


def test_the_hash_depends_on_ids_contents_and_cuts_alone(tmp_path, noise):
    noise(tmp_path / "a.wav")
    noise(tmp_path / "b.wav", seed=1)
    a, b = SoundItem("1", tmp_path / "a.wav", "x"), SoundItem("2", tmp_path / "b.wav")
    first = SoundSet("s", (a, b)).hash
    (tmp_path / "c.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    assert SoundSet("t", (b, SoundItem("1", tmp_path / "c.wav", "y"))).hash == first
    assert SoundSet("s", (a, SoundItem("2", tmp_path / "b.wav", start=0.1))).hash != first
    with (tmp_path / "b.wav").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    assert SoundSet("s", (a, b)).hash != first


def test_a_newer_or_foreign_set_json_is_rejected(tmp_path):
    (tmp_path / "set.json").write_text('{"schema": 2, "items": []}')
    with pytest.raises(CorruptFileError, match="schema 2"):
        read_set(tmp_path)
    (tmp_path / "set.json").write_text("[]")
    with pytest.raises(CorruptFileError, match="no list of items"):
        read_set(tmp_path)
