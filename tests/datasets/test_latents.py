import json

import numpy as np
import pytest

from soundloom.datasets.examples import Example, Selection, read_examples
from soundloom.datasets.latents import LatentFolder, LatentFolderWriter, latent_metadata, write_silence
from soundloom.datasets.opening import open_dataset
from soundloom.datasets.webdataset import Shards, ShardWriter
from soundloom.errors import CorruptFileError

RNG = np.random.default_rng(0)
RATE = 44100


def latents(frames):
    return RNG.standard_normal((8, frames)).astype(np.float32)


def store(writer, count, frames=5):
    """Store some examples and return their arrays by origin."""
    arrays = {f"sounds/{i}.wav": latents(frames + i) for i in range(count)}
    for origin, array in arrays.items():
        item = Example(origin, (f"caption {origin}", "another"), 1.25, metadata={})
        writer.write(latent_metadata(item, array.shape[1], RATE), array)
    writer.close()
    return arrays


@pytest.fixture(
    params=[LatentFolderWriter, lambda root: ShardWriter(root, shard_examples=2)], ids=["npy", "webdataset"]
)
def writer_at(request):
    return request.param


def test_stored_examples_round_trip(tmp_path, writer_at):
    arrays = store(writer_at(tmp_path / "out"), 5)
    items = list(read_examples(open_dataset(tmp_path / "out")))
    assert len(items) == 5
    for item in items:
        assert np.array_equal(item.latents, arrays[item.metadata["relpath"]])
        assert item.captions == (f"caption {item.metadata['relpath']}", "another")
        assert item.seconds == 1.25
        assert item.audio is None


def test_writer_appends_to_stored_examples(tmp_path, writer_at):
    store(writer_at(tmp_path / "out"), 3)
    writer = writer_at(tmp_path / "out")
    assert set(writer.known) == {"sounds/0.wav", "sounds/1.wav", "sounds/2.wav"}
    new = Example("sounds/new.wav", (), 2.0)
    writer.write(latent_metadata(new, 9, RATE), latents(9))
    writer.close()
    origins = [item.metadata["relpath"] for item in read_examples(open_dataset(tmp_path / "out"))]
    assert sorted(origins) == ["sounds/0.wav", "sounds/1.wav", "sounds/2.wav", "sounds/new.wav"]


def test_temporary_files_of_a_killed_run_are_ignored(tmp_path, writer_at):
    store(writer_at(tmp_path / "out"), 3)
    for ending in (".tar", ".json", ".npy"):
        (tmp_path / "out" / f".soundloom-abc{ending}").write_bytes(b"")
    assert len(writer_at(tmp_path / "out").known) == 3
    assert len(list(read_examples(open_dataset(tmp_path / "out")))) == 3


def test_new_example_replaces_one_of_the_same_origin(tmp_path, writer_at):
    arrays = store(writer_at(tmp_path / "out"), 3)
    writer = writer_at(tmp_path / "out")
    changed = latents(11)
    writer.write(latent_metadata(Example("sounds/1.wav", ("new",), 3.0), 11, RATE), changed)
    writer.close()
    items = {item.metadata["relpath"]: item for item in read_examples(open_dataset(tmp_path / "out"))}
    assert len(items) == 3
    assert np.array_equal(items["sounds/1.wav"].latents, changed)
    assert items["sounds/1.wav"].captions == ("new",)
    assert np.array_equal(items["sounds/2.wav"].latents, arrays["sounds/2.wav"])


def test_metadata_can_be_rewritten_without_the_array(tmp_path, writer_at):
    arrays = store(writer_at(tmp_path / "out"), 2)
    writer = writer_at(tmp_path / "out")
    writer.write(latent_metadata(Example("sounds/0.wav", ("new caption",), 1.25), 5, RATE), None)
    writer.close()
    items = {item.metadata["relpath"]: item for item in read_examples(open_dataset(tmp_path / "out"))}
    assert items["sounds/0.wav"].captions == ("new caption",)
    assert np.array_equal(items["sounds/0.wav"].latents, arrays["sounds/0.wav"])


def test_the_published_layout_is_written(tmp_path):
    store(LatentFolderWriter(tmp_path), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("0000000000.json", "0000000000.npy"),
        *("0000000001.json", "0000000001.npy"),
    ]
    table = json.loads((tmp_path / "0000000001.json").read_text())
    assert (table["seconds_total"], table["seconds_start"], table["timestamps"]) == (2, 0, [0.0, 1.25])
    assert table["padding_mask"] == [1] * 6
    assert table["prompt"] == "caption sounds/1.wav"


def test_published_files_are_read(tmp_path):
    """In half precision, with padding frames, without fields of soundloom's."""
    array = latents(6).astype(np.float16)
    np.save(tmp_path / "0000030012.npy", array)
    table = {"prompt": "House, 120 BPM", "seconds_total": 7, "padding_mask": [1, 1, 1, 1, 0, 0]}
    (tmp_path / "0000030012.json").write_text(json.dumps(table))
    (tmp_path / "filelist.txt").write_text("0000030012.npy\n")
    write_silence(tmp_path, latents(4))
    folder = LatentFolder(tmp_path)
    (item,) = read_examples(folder)
    assert item.latents.dtype == np.float32
    assert np.array_equal(item.latents, array[:, :4].astype(np.float32))
    assert (item.captions, item.seconds) == (("House, 120 BPM",), 7.0)
    assert folder.silence().shape == (8, 4)


@pytest.mark.parametrize(
    ("array", "table", "sentence"),
    [
        (b"no array", '{"seconds_total": 1}', "is not a .npy array"),
        (np.zeros(4, np.float32), '{"seconds_total": 1}', "not latents"),
        (np.zeros((8, 4), np.int32), '{"seconds_total": 1}', "not latents"),
        (np.zeros((8, 4), np.float32), "{}", "lacks seconds_total"),
        (np.zeros((8, 4), np.float32), None, "cannot be read"),
        (np.zeros((8, 4), np.float32), '{"seconds_total": NaN}', "is not valid JSON"),
    ],
)
def test_damaged_examples_are_skipped_with_a_reason(tmp_path, array, table, sentence):
    if isinstance(array, bytes):
        (tmp_path / "0.npy").write_bytes(array)
    else:
        np.save(tmp_path / "0.npy", array)
    if table:
        (tmp_path / "0.json").write_text(table)
    skipped = []
    assert list(read_examples(LatentFolder(tmp_path), Selection(), skipped.append)) == []
    assert sentence in skipped[0].reason


def test_damaged_shard_is_reported_and_others_are_read(tmp_path):
    store(ShardWriter(tmp_path, shard_examples=2), 6)
    middle = tmp_path / "000001.tar"
    middle.write_bytes(middle.read_bytes()[:700])
    skipped = []
    items = list(read_examples(Shards(tmp_path), None, skipped.append))
    assert [item.metadata["relpath"] for item in items if "/2" not in item.origin] != []
    assert {"sounds/0.wav", "sounds/5.wav"} <= {item.metadata["relpath"] for item in items}
    assert [one.origin for one in skipped] == ["000001"]
    with pytest.raises(CorruptFileError, match="damaged"):
        ShardWriter(tmp_path)


def test_equal_examples_give_equal_shards(tmp_path):
    arrays = {f"{i}.wav": latents(5) for i in range(3)}
    for name in ("a", "b"):
        writer = ShardWriter(tmp_path / name)
        for origin, array in arrays.items():
            writer.write(latent_metadata(Example(origin, (), 1.0), 5, RATE), array)
        writer.close()
    assert (tmp_path / "a/000000.tar").read_bytes() == (tmp_path / "b/000000.tar").read_bytes()


def test_shuffling_shards_loses_nothing(tmp_path):
    store(ShardWriter(tmp_path, shard_examples=1), 8)
    shards = Shards(tmp_path)
    plain = [entry.origin for entry in shards.entries()]
    shards.shuffle(np.random.default_rng(1))
    mixed = [entry.origin for entry in shards.entries()]
    assert sorted(mixed) == plain != mixed
