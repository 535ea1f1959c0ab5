import json

import mutagen
import numpy as np
import pytest
import soundfile

from soundloom.audio.metadata import read_record, sidecar_path, write_record, write_sidecar
from soundloom.audio.read import read_audio
from soundloom.audio.records import recorded_title
from soundloom.audio.write import write_audio
from soundloom.errors import AudioError
from soundloom.version import __version__

ENDINGS = ["wav", "flac", "ogg", "mp3"]
RECORD = {
    "request": {"prompt": "Glocken über dem  See, 鐘", "seconds": 2.5},
    "seed": 7,
    "model": "mini",
    "warnings": [],
}
COMMENT = f"AI-generated. Made with soundloom {__version__}, model mini, seed 7."


@pytest.fixture(params=ENDINGS)
def sound(request, tmp_path):
    path = tmp_path / f"a.{request.param}"
    write_audio(path, np.linspace(-0.5, 0.5, 5001, dtype=np.float32)[None], 44100)
    return path


def test_a_record_round_trips_without_changing_the_audio(sound):
    before, _, _ = read_audio(sound)
    write_record(sound, RECORD)
    assert read_record(sound) == {"soundloom": __version__, **RECORD}
    np.testing.assert_array_equal(read_audio(sound)[0], before)


def test_ordinary_tag_readers_see_prompt_and_comment(sound):
    write_record(sound, RECORD)
    tags = mutagen.File(sound).tags
    if sound.suffix in (".wav", ".mp3"):
        shown = [str(tags[name]) for name in ("TIT2", "COMM::eng", "TSSE")]
    else:
        shown = [tags[name][0] for name in ("title", "comment", "encoder")]
    assert shown == ["Glocken über dem See, 鐘", COMMENT, f"soundloom {__version__}"]


def test_list_info_has_prompt_and_comment(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, np.zeros((1, 100), np.float32), 44100, record=RECORD)
    with soundfile.SoundFile(path) as file:
        assert (file.title, file.comment) == ("Glocken über dem See, 鐘", COMMENT)
        assert file.software.startswith(f"soundloom {__version__}")


@pytest.mark.parametrize(
    ("request_record", "title"),
    [
        ({"prompt": "(warm piano:1.3), rain"}, "warm piano, rain"),
        ({"prompt": r"\(a:1.3\)"}, "(a:1.3)"),
        ({"prompt": "(a:2)", "prompt_b": "(b:0.5)", "mix": 0.4}, "a / b"),
        ({"prompt": "a", "prompt_b": "b", "mix": [[0, 0], [2, 1]]}, "a / b"),
        ({"prompt": "a", "prompt_b": "b", "mix": 0.0}, "a"),
        ({"prompt": "a", "prompt_b": "b", "mix": 1}, "b"),
        ({"prompt": "(at 10:30)"}, "(at 10:30)"),  # by another program
    ],
)
def test_titles_have_no_weights(request_record, title):
    assert recorded_title({"request": request_record}) == title


def test_writing_again_replaces(sound):
    write_record(sound, RECORD)
    write_record(sound, {"prompt": "rain " * 100, "seed": 8})
    assert read_record(sound)["seed"] == 8
    with soundfile.SoundFile(sound) as file:
        assert file.title.startswith("rain rain")
        assert len(file.title) <= 120


def test_other_tags_stay(sound):
    file = mutagen.File(sound, easy=sound.suffix == ".mp3")
    if sound.suffix == ".wav":
        file.add_tags()
        file.tags.add(mutagen.id3.TPE1(encoding=3, text=["somebody"]))
    else:
        file["artist"] = "somebody"
    file.save()
    write_record(sound, RECORD)
    tags = mutagen.File(sound).tags
    artist = tags["TPE1"].text if sound.suffix in (".wav", ".mp3") else tags["artist"]
    assert artist == ["somebody"]


def test_files_without_a_record_have_none(sound):
    assert read_record(sound) is None


def test_the_sidecar_is_read_without_tags(sound):
    assert write_sidecar(sound, RECORD) == sidecar_path(sound) == sound.with_suffix(".json")
    assert json.loads(sidecar_path(sound).read_text(encoding="utf-8"))["seed"] == 7
    assert read_record(sound) == {"soundloom": __version__, **RECORD}


def test_json_files_of_other_programs_are_ignored(sound):
    sidecar_path(sound).write_text('{"caption": "bells"}')
    assert read_record(sound) is None


def test_damaged_sidecar(sound):
    sidecar_path(sound).write_text('{"soundloom": ')
    with pytest.raises(AudioError, match=r"a\.json is damaged"):
        read_record(sound)


@pytest.mark.parametrize(
    "damage", [(b'{"soundloom"', b'x"soundloom"'), (b'{"soundloom": "0.1.0", ', b"[1]" + b" " * 20)]
)
def test_damaged_tags(tmp_path, damage):
    path = tmp_path / "a.mp3"
    write_audio(path, np.zeros((1, 5000), np.float32), 44100, record=RECORD)
    data = path.read_bytes()
    assert damage[0] in data
    path.write_bytes(data.replace(*damage))
    with pytest.raises(AudioError, match=r"the SOUNDLOOM tag of .*a\.mp3 is damaged"):
        read_record(path)


def test_tags_that_cannot_be_parsed_at_all(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(b"fLaC" + b"\xff" * 50)
    with pytest.raises(AudioError, match=r"tags of .* cannot be read"):
        read_record(path)


@pytest.mark.parametrize("value", [np.float32(1), float("nan"), {1, 2}])
def test_a_record_must_hold_json_values(sound, value):
    with pytest.raises(AudioError, match="hold JSON values"):
        write_record(sound, {"seed": value})
