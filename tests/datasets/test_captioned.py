"""Sources of captions in training sets of adapters."""

import json

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC
from mutagen.id3 import TBPM, TCON, TIT2
from mutagen.wave import WAVE

from soundloom.audio.clip import Clip
from soundloom.datasets.captioned import CaptionedFolder
from soundloom.errors import CorruptFileError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "deep/b.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros((64, 2)), 44100)
    return tmp_path


def captions(folder, name="a.wav"):
    (entry,) = (entry for entry in CaptionedFolder(folder).entries() if entry.origin == name)
    return entry.read().captions


def test_names_of_files_are_no_captions(folder):
    assert captions(folder) == ()


def test_a_text_file_is_one_caption_with_all_its_lines(folder):
    (folder / "a.txt").write_text("slow piano,\nrain outside\n", encoding="utf-8")
    assert captions(folder) == ("slow piano,\nrain outside",)


def test_sources_have_an_order(folder):
    sources = {
        "metadata.jsonl": json.dumps({"file_name": "a.wav", "text": "from a row"}),
        "txt/a.txt": "from text beside",
        "a.txt": "from text",
        "json/a.json": json.dumps({"caption": "from JSON beside"}),
        "a.json": json.dumps({"prompt": "from JSON"}),
    }
    found = []
    for name, text in sources.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        found += captions(folder)
    assert found == ["from a row", "from text beside", "from text", "from JSON beside", "from JSON"]


def test_json_without_captions_leaves_the_text_file(folder):
    (folder / "a.json").write_text('{"sampler": "x"}', encoding="utf-8")
    (folder / "a.txt").write_text("from text", encoding="utf-8")
    assert captions(folder) == ("from text",)


def test_rows_of_csv_files_name_files_beside_them(folder):
    (folder / "deep/metadata.csv").write_text("file_name,caption\nb.flac,a bell\n", encoding="utf-8")
    assert captions(folder, "deep/b.flac") == ("a bell",)
    (folder / "metadata.csv").write_text("file,caption\nb.flac,a bell\n", encoding="utf-8")
    with pytest.raises(CorruptFileError, match="lacks file_name"):
        CaptionedFolder(folder)


def test_tags_become_prompts_but_titles_that_repeat_the_name_do_not(folder):
    wav = WAVE(folder / "a.wav")
    wav.add_tags()
    wav.tags.add(TIT2(text="a"))
    wav.save()
    assert captions(folder) == ()
    wav.tags.add(TCON(text="techno"))
    wav.tags.add(TBPM(text="130"))
    wav.save()
    assert any("techno" in caption or "130 BPM" in caption for caption in captions(folder))
    flac = FLAC(folder / "deep/b.flac")
    flac["mood"] = ["calm"]
    flac.save()
    assert any("calm" in caption for caption in captions(folder, "deep/b.flac"))


def test_generated_clips_bring_their_prompt(folder):
    record = {"prompt": "a siren", "model": "mini"}
    Clip(0.1 * np.ones((2, 4410), np.float32), 44100, record).save(folder / "made.wav")
    assert captions(folder, "made.wav") == ("a siren",)
