import json

import numpy as np
import pytest

from soundloom.datasets.items import Item, Selection, read_items
from soundloom.datasets.latents import LatentFolder, LatentFolderWriter, latent_metadata, write_silence
from soundloom.datasets.opening import open_dataset
from soundloom.datasets.webdataset import Shards, ShardWriter
from soundloom.errors import CorruptFileError

RNG = np.random.default_rng(0)
RATE = 44100


def latents(frames):
    return RNG.standard_normal((8, frames)).astype(np.float32)


def store(writer, count, frames=5):
    """Put some items in and return their arrays by origin."""
    arrays = {f"sounds/{i}.wav": latents(frames + i) for i in range(count)}
    for origin, array in arrays.items():
        item = Item(origin, (f"caption {origin}", "another"), 1.25, metadata={})
        writer.write(latent_metadata(item, array.shape[1], RATE), array)
    writer.close()
    return arrays


@pytest.fixture(params=[LatentFolderWriter, lambda root: ShardWriter(root, shard_items=2)], ids=["npy", "webdataset"])
def writer_at(request):
    return request.param


def test_stored_items_come_back(tmp_path, writer_at):
    arrays = store(writer_at(tmp_path / "out"), 5)
    items = list(read_items(open_dataset(tmp_path / "out")))
    assert len(items) == 5
    for item in items:
        assert np.array_equal(item.latents, arrays[item.metadata["relpath"]])
        assert item.captions == (f"caption {item.metadata['relpath']}", "another")
        assert item.seconds == 1.25
        assert item.audio is None


def test_a_writer_knows_what_is_there_and_goes_on_behind_it(tmp_path, writer_at):
    store(writer_at(tmp_path / "out"), 3)
    writer = writer_at(tmp_path / "out")
    assert set(writer.known) == {"sounds/0.wav", "sounds/1.wav", "sounds/2.wav"}
    new = Item("sounds/new.wav", (), 2.0)
    writer.write(latent_metadata(new, 9, RATE), latents(9))
    writer.close()
    origins = [item.metadata["relpath"] for item in read_items(open_dataset(tmp_path / "out"))]
    assert sorted(origins) == ["sounds/0.wav", "sounds/1.wav", "sounds/2.wav", "sounds/new.wav"]


def test_what_a_killed_run_left_half_written_is_passed_over(tmp_path, writer_at):
    store(writer_at(tmp_path / "out"), 3)
    for ending in (".tar", ".json", ".npy"):
        (tmp_path / "out" / f".soundloom-abc{ending}").write_bytes(b"")
    assert len(writer_at(tmp_path / "out").known) == 3
    assert len(list(read_items(open_dataset(tmp_path / "out")))) == 3


def test_an_item_of_a_known_origin_takes_the_old_ones_place(tmp_path, writer_at):
    arrays = store(writer_at(tmp_path / "out"), 3)
    writer = writer_at(tmp_path / "out")
    changed = latents(11)
    writer.write(latent_metadata(Item("sounds/1.wav", ("new",), 3.0), 11, RATE), changed)
    writer.close()
    items = {item.metadata["relpath"]: item for item in read_items(open_dataset(tmp_path / "out"))}
    assert len(items) == 3
    assert np.array_equal(items["sounds/1.wav"].latents, changed)
    assert items["sounds/1.wav"].captions == ("new",)
    assert np.array_equal(items["sounds/2.wav"].latents, arrays["sounds/2.wav"])


def test_captions_change_without_the_array(tmp_path, writer_at):
    arrays = store(writer_at(tmp_path / "out"), 2)
    writer = writer_at(tmp_path / "out")
    writer.write(latent_metadata(Item("sounds/0.wav", ("new words",), 1.25), 5, RATE), None)
    writer.close()
    items = {item.metadata["relpath"]: item for item in read_items(open_dataset(tmp_path / "out"))}
    assert items["sounds/0.wav"].captions == ("new words",)
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


def test_published_files_are_read_as_they_are(tmp_path):
    """Half precision, padding behind the sound, no fields of ours."""
    array = latents(6).astype(np.float16)
    np.save(tmp_path / "0000030012.npy", array)
    table = {"prompt": "House, 120 BPM", "seconds_total": 7, "padding_mask": [1, 1, 1, 1, 0, 0]}
    (tmp_path / "0000030012.json").write_text(json.dumps(table))
    (tmp_path / "filelist.txt").write_text("0000030012.npy\n")
    write_silence(tmp_path, latents(4))
    folder = LatentFolder(tmp_path)
    (item,) = read_items(folder)
    assert item.latents.dtype == np.float32
    assert np.array_equal(item.latents, array[:, :4].astype(np.float32))
    assert (item.captions, item.seconds) == (("House, 120 BPM",), 7.0)
    assert folder.silence().shape == (8, 4)


@pytest.mark.parametrize(
    ("array", "table", "sentence"),
    [
        (b"no array", '{"seconds_total": 1}', "is not an array"),
        (np.zeros(4, np.float32), '{"seconds_total": 1}', "not latents"),
        (np.zeros((8, 4), np.int32), '{"seconds_total": 1}', "not latents"),
        (np.zeros((8, 4), np.float32), "{}", "without seconds_total"),
        (np.zeros((8, 4), np.float32), None, "cannot be read"),
        (np.zeros((8, 4), np.float32), '{"seconds_total": NaN}', "is not JSON"),
    ],
)
def test_damaged_items_are_skipped_with_a_reason(tmp_path, array, table, sentence):
    if isinstance(array, bytes):
        (tmp_path / "0.npy").write_bytes(array)
    else:
        np.save(tmp_path / "0.npy", array)
    if table:
        (tmp_path / "0.json").write_text(table)
    skipped = []
    assert list(read_items(LatentFolder(tmp_path), Selection(), skipped.append)) == []
    assert sentence in skipped[0].reason


def test_a_damaged_shard_is_reported_and_the_others_are_read(tmp_path):
    store(ShardWriter(tmp_path, shard_items=2), 6)
    middle = tmp_path / "000001.tar"
    middle.write_bytes(middle.read_bytes()[:700])
    skipped = []
    items = list(read_items(Shards(tmp_path), None, skipped.append))
    assert [item.metadata["relpath"] for item in items if "/2" not in item.origin] != []
    assert {"sounds/0.wav", "sounds/5.wav"} <= {item.metadata["relpath"] for item in items}
    assert [one.origin for one in skipped] == ["000001"]
    with pytest.raises(CorruptFileError, match="damaged"):
        ShardWriter(tmp_path)


def test_the_same_items_give_the_same_shard(tmp_path):
    arrays = {f"{i}.wav": latents(5) for i in range(3)}
    for name in ("a", "b"):
        writer = ShardWriter(tmp_path / name)
        for origin, array in arrays.items():
            writer.write(latent_metadata(Item(origin, (), 1.0), 5, RATE), array)
        writer.close()
    assert (tmp_path / "a/000000.tar").read_bytes() == (tmp_path / "b/000000.tar").read_bytes()


def test_shards_come_in_another_order_with_nothing_lost(tmp_path):
    store(ShardWriter(tmp_path, shard_items=1), 8)
    shards = Shards(tmp_path)
    plain = [entry.origin for entry in shards.entries()]
    shards.shuffle(np.random.default_rng(1))
    mixed = [entry.origin for entry in shards.entries()]
    assert sorted(mixed) == plain != mixed
