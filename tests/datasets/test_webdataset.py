import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from soundloom.datasets.examples import read_examples
from soundloom.datasets.opening import open_dataset
from soundloom.errors import CorruptFileError, RequestError


def pack(path, members, mode="w"):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_members_with_one_stem_are_one_example(sounds, tmp_path):
    pack(
        tmp_path / "shard.tar",
        [
            ("a/1.flac", (sounds / "loops/kick.flac").read_bytes()),
            ("a/1.json", b'{"text": "a kick"}'),
            ("a/2.wav", (sounds / "bell.wav").read_bytes()),
            ("a/2.txt", b"a bell\n"),
            ("a/3.json", b'{"text": "caption without sound"}'),
        ],
    )
    skipped = []
    items = list(read_examples(open_dataset(tmp_path / "shard.tar"), None, skipped.append))
    assert [(item.origin, item.captions) for item in items] == [("shard/a/1", ("a kick",)), ("shard/a/2", ("a bell",))]
    assert items[0].audio.shape == (1, 14400)
    assert "neither audio nor latents" in skipped[0].reason


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_entry_without_data_reads_it_again_from_the_shard(sounds, tmp_path, mode):
    members = [("a.txt", b"a kick"), ("a.flac", (sounds / "loops/kick.flac").read_bytes())]
    members += [("b.wav", (sounds / "bell.wav").read_bytes())]
    pack(tmp_path / "shard.tar", members, mode)
    for entry in open_dataset(tmp_path / "shard.tar").entries():
        light = entry.without_data()
        assert np.array_equal(light.read().audio, entry.read().audio)
        assert (light.read_metadata(), light.fingerprint()) == (entry.read_metadata(), entry.fingerprint())
        in_memory = sum(map(len, light.members.values()))
        assert in_memory < 10 if mode == "w" else in_memory > 1000


def test_reading_again_from_a_truncated_shard_raises(sounds, tmp_path):
    pack(tmp_path / "shard.tar", [("b.wav", (sounds / "bell.wav").read_bytes())])
    (entry,) = open_dataset(tmp_path / "shard.tar").entries()
    (tmp_path / "shard.tar").write_bytes((tmp_path / "shard.tar").read_bytes()[:1000])
    with pytest.raises(CorruptFileError, match=r"shard\.tar is shorter than it was"):
        entry.without_data().read()


def test_shards_that_cannot_be_opened_are_skipped(sounds, tmp_path, monkeypatch):
    for name in ("a", "b"):
        pack(tmp_path / f"shards/{name}.tar", [("1.wav", (sounds / "bell.wav").read_bytes())])
    opened = Path.open

    def refusing(path, *args, **kwargs):
        if path.name == "a.tar":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refusing)
    skipped = []
    items = list(read_examples(open_dataset(tmp_path / "shards"), None, skipped.append))
    assert [item.origin for item in items] == ["b/1"]
    assert [found.origin for found in skipped] == ["a"]
    assert "Permission denied" in skipped[0].reason


def test_sidecars_give_the_same_captions_in_a_folder_and_in_a_shard(sounds, tmp_path):
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
    found = [next(read_examples(open_dataset(place))).captions for place in (folder, tmp_path / "shard.tar")]
    assert set(found[0]) == {"one bell", "metal", "a bell", "struck once"}
    assert found[0] == found[1]


def test_missing_dataset_raises(tmp_path):
    with pytest.raises(RequestError, match="no folder or file"):
        open_dataset(tmp_path / "absent")
