"""Second runs ignore temporary files of killed processes, and accept finished results."""

import numpy as np
import pytest

from soundloom import temporary
from soundloom.checkpoints.stable_audio.convert import convert, require_empty
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.datasets.webdataset import Shards, ShardWriter
from soundloom.errors import RequestError
from soundloom.temporary import temporary_name
from soundloom.testing.stable_audio import make_random


@pytest.fixture
def dead_name(monkeypatch):
    """Use temporary names of a dead process."""

    def name(kind, suffix=""):
        ours = temporary_name(kind, suffix)
        return ours.replace(ours.split("-")[3], "0123abcd")

    return name


@pytest.fixture
def tiny(tiny_model_folder):
    return open_checkpoint(tiny_model_folder)


def test_temporary_files_of_dead_processes_do_not_count(tmp_path, dead_name, tiny):
    (tmp_path / dead_name("file", ".npz")).touch()
    (tmp_path / dead_name("folder")).mkdir()
    (tmp_path / dead_name("folder") / "model").mkdir(parents=True)
    require_empty(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / dead_name("folder")).mkdir()
    convert(tiny, folder, "bf16-mirror")
    assert not list(tmp_path.rglob(".soundloom-*"))


def test_temporary_files_of_a_living_process_count(tmp_path):
    (tmp_path / temporary_name("file")).touch()
    with pytest.raises(RequestError, match="is not an empty folder"):
        require_empty(tmp_path)


def test_only_the_same_conversion_may_be_repeated(tmp_path, tiny):
    first = convert(tiny, tmp_path / "out", "bf16-mirror")
    assert convert(tiny, tmp_path / "out", "bf16-mirror") == first
    with pytest.raises(RequestError, match="is not an empty folder"):
        convert(tiny, tmp_path / "out", "npz")
    other = make_random("small-music", tmp_path / "other", size="tiny", seed=1)
    with pytest.raises(RequestError, match="is not an empty folder"):
        convert(open_checkpoint(other), tmp_path / "out", "bf16-mirror")


@pytest.mark.parametrize("change", ["a file more", "a changed file", "a file less"])
def test_changed_files_are_never_replaced(tmp_path, tiny, change):
    folder = tmp_path / "out"
    convert(tiny, folder, "bf16-mirror")
    if change == "a file more":
        (folder / "notes.txt").touch()
    elif change == "a changed file":
        (folder / "model_config.json").write_text("{}")
    else:
        (folder / "model_config.json").unlink()
    with pytest.raises(RequestError, match="is not an empty folder"):
        convert(tiny, folder, "bf16-mirror")


# Shards


def write(folder, numbers, shard_examples=4):
    writer = ShardWriter(folder, shard_examples)
    for number in numbers:
        metadata = {"relpath": f"{number}.wav", "seconds_total": 1, "prompt": f"sound {number}"}
        if metadata["relpath"] not in writer.known:
            writer.write(metadata, np.full((2, 3), number, np.float32))
    writer.close()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("stop", range(1, 11))
def test_a_resumed_run_writes_the_same_shards(tmp_path, stop):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = write(tmp_path / "whole", range(10))
    write(tmp_path / "stopped", range(stop))
    assert write(tmp_path / "stopped", range(10)) == whole
    assert sorted(whole) == ["000000.tar", "000001.tar", "000002.tar"]
    assert [entry.read().metadata["relpath"] for entry in Shards(tmp_path / "stopped").entries()] == [
        f"{number}.wav" for number in range(10)
    ]


def test_an_example_in_the_last_shard_is_replaced(tmp_path):
    write(tmp_path, range(6))
    writer = ShardWriter(tmp_path, 4)
    for number in (1, 5):
        writer.write({"relpath": f"{number}.wav", "seconds_total": 1, "prompt": "new"}, None)
    writer.close()
    items = [entry.read() for entry in Shards(tmp_path).entries()]
    assert [item.metadata["prompt"] for item in items] == [
        "new" if number in (1, 5) else f"sound {number}" for number in range(6)
    ]
    assert [float(item.latents[0, 0]) for item in items] == list(range(6))


def test_foreign_shards_are_not_changed(tmp_path):
    from soundloom.datasets.webdataset import write_shard

    write_shard(
        tmp_path / "000000.tar", [("song", {".json": b'{"relpath": "a.wav"}', ".npy": b"x"}), ("b", {".txt": b"y"})]
    )
    before = (tmp_path / "000000.tar").read_bytes()
    write(tmp_path, [7])
    assert (tmp_path / "000000.tar").read_bytes() == before
    assert (tmp_path / "000001.tar").is_file()


@pytest.mark.parametrize(("form", "suffix"), [("webdataset", ".npy"), ("npy", ".tar")])
def test_temporary_files_are_no_other_format(tmp_path, dead_name, form, suffix):
    from soundloom.cli.commands.audio.encode import _writer

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / dead_name("file", suffix)).write_bytes(b"half")
    temporary._cleaned.clear()
    _writer(tmp_path / "out", form, tmp_path / "sounds")
    assert not list((tmp_path / "out").iterdir())
