import io
import tarfile

import pytest

from soundloom.datasets.items import read_items
from soundloom.datasets.opening import open_dataset
from soundloom.errors import RequestError


def pack(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_sound_and_words_of_one_stem_are_one_example(sounds, tmp_path):
    pack(
        tmp_path / "shard.tar",
        [
            ("a/1.flac", (sounds / "loops/kick.flac").read_bytes()),
            ("a/1.json", b'{"text": "a kick"}'),
            ("a/2.wav", (sounds / "bell.wav").read_bytes()),
            ("a/2.txt", b"a bell\n"),
            ("a/3.json", b'{"text": "words without sound"}'),
        ],
    )
    skipped = []
    items = list(read_items(open_dataset(tmp_path / "shard.tar"), None, skipped.append))
    assert [(item.origin, item.captions) for item in items] == [
        ("shard/a/1", ("a kick",)),
        ("shard/a/2", ("a bell",)),
    ]
    assert items[0].audio.shape == (1, 14400)
    assert "neither sound nor latents" in skipped[0].reason


def test_files_beside_a_sound_say_the_same_in_a_folder_and_in_a_shard(sounds, tmp_path):
    members = {
        "bell.wav": (sounds / "bell.wav").read_bytes(),
        "bell.json": b'{"text": "struck once", "captions": "a bell"}',
        "bell.txt": "\ufeffone bell\n\nmetal\n".encode(),
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in members.items():
        (folder / name).write_bytes(data)
    pack(tmp_path / "shard.tar", members.items())
    found = [next(read_items(open_dataset(place))).captions for place in (folder, tmp_path / "shard.tar")]
    assert set(found[0]) == {"one bell", "metal", "a bell", "struck once"}
    assert found[0] == found[1]


def test_nothing_that_could_be_a_dataset(tmp_path):
    with pytest.raises(RequestError, match="no folder or file"):
        open_dataset(tmp_path / "absent")
