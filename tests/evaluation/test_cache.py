"""The cache of embeddings: keys by content, shards that survive kills, damage and other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from soundloom.evaluation.cache import EmbeddingCache, cache_size, clear_cache, embedding_key
from soundloom.evaluation.sets.items import SoundItem
from soundloom.temporary import PREFIX


def key(number: int) -> str:
    return embedding_key(str(number), 0, None, "embedder", "recipe")


def vectors(number: int, windows: int = 3, width: int = 8) -> np.ndarray:
    return np.random.Generator(np.random.Philox(number)).normal(size=(windows, width)).astype(np.float32)


def fill(folder: Path, numbers) -> None:
    with EmbeddingCache(folder) as cache:
        for number in numbers:
            cache.add(key(number), vectors(number), [8, 8, number])


def key_of(path: Path, **cut) -> str:
    item = SoundItem("x", path, **cut)
    return embedding_key(item.content_hash, item.start, item.end, "embedder", "recipe")


def test_the_key_follows_the_content_not_the_name(tmp_path):
    import soundfile

    samples = np.zeros(100, np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    first = key_of(tmp_path / "a.wav")
    (tmp_path / "a.wav").rename(tmp_path / "b.wav")
    os.utime(tmp_path / "b.wav", (1, 1))
    assert key_of(tmp_path / "b.wav") == first
    samples[50] = 1
    soundfile.write(tmp_path / "b.wav", samples, 8000)
    os.utime(tmp_path / "b.wav", (1, 1))  # of equal size and time
    assert key_of(tmp_path / "b.wav") != first


def test_the_key_follows_cut_embedder_recipe_and_rules(monkeypatch):
    keys = [
        embedding_key("a", 0, None, "e", "r"),
        embedding_key("a", 0, 5, "e", "r"),
        embedding_key("a", 1, 5, "e", "r"),
        embedding_key("a", 0, None, "f", "r"),
        embedding_key("a", 0, None, "e", "s"),
    ]
    assert len(set(keys)) == len(keys) and embedding_key("a", 0.0, 5.0, "e", "r") == keys[1]
    monkeypatch.setattr("soundloom.evaluation.cache.RULES", "another front end")
    assert embedding_key("a", 0, None, "e", "r") not in keys


def test_entries_come_back_as_they_were(tmp_path):
    with EmbeddingCache(tmp_path / "deep") as cache:
        cache.add(key(1), vectors(1), [8, 8, 5], ["clipped"])
        cache.add(key(2), vectors(2, 1, 4), [3])  # of another embedder
        cache.add(key(3), np.empty((0, 8), np.float32), [])
        assert np.array_equal(cache.get(key(1))[0], vectors(1))  # before it is written
    found = EmbeddingCache(tmp_path / "deep")
    entry = found.entry(key(1))
    assert np.array_equal(entry.vectors, vectors(1)) and entry.vectors.dtype == np.float32
    assert (entry.filled.tolist(), entry.notes) == ([8, 8, 5], ("clipped",))
    assert np.array_equal(found.get(key(2))[0], vectors(2, 1, 4)) and found.get(key(3))[0].shape == (0, 8)
    assert found.get(key(4)) is None and (found.hits, found.misses) == (3, 1)


def test_values_that_are_not_finite_are_not_cached(tmp_path):
    with EmbeddingCache(tmp_path) as cache:
        cache.add(key(1), np.full((1, 8), np.nan, np.float32), [8])
    assert EmbeddingCache(tmp_path).get(key(1)) is None and cache_size(tmp_path).files == 0


def test_shapes_and_keys_are_checked(tmp_path):
    cache = EmbeddingCache(tmp_path)
    for wrong in ((key(1), vectors(1), [8]), (key(1), vectors(1)[0], [8] * 8), ("abc", vectors(1), [8] * 3)):
        with pytest.raises(ValueError):
            cache.add(*wrong)


def test_entries_are_written_after_a_while_and_after_errors(tmp_path, monkeypatch):
    monkeypatch.setattr("soundloom.evaluation.cache.FLUSH_ENTRIES", 2)
    with pytest.raises(KeyError), EmbeddingCache(tmp_path) as cache:
        for number in range(3):
            cache.add(key(number), vectors(number), [8] * 3)
        assert cache_size(tmp_path).entries == 2
        raise KeyError
    assert cache_size(tmp_path).entries == 3


@pytest.mark.parametrize("part", range(8))
def test_a_flipped_bit_is_never_believed(tmp_path, caplog, part):
    fill(tmp_path, range(4))
    (shard,) = tmp_path.iterdir()
    data = bytearray(shard.read_bytes())
    for position in range(part, len(data), 8 * 7 + 1):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        shard.write_bytes(damaged)
        cache = EmbeddingCache(tmp_path)
        for number in range(4):
            found = cache.entry(key(number))
            assert found is None or (np.array_equal(found.vectors, vectors(number)) and found.filled[2] == number)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_shard_is_computed_again(tmp_path, caplog, length):
    fill(tmp_path, range(4))
    (shard,) = tmp_path.iterdir()
    shard.write_bytes(shard.read_bytes()[:length])
    assert EmbeddingCache(tmp_path).get(key(1)) is None
    assert cache_size(tmp_path).damaged == (shard,)
    fill(tmp_path, range(4))
    assert np.array_equal(EmbeddingCache(tmp_path).get(key(1))[0], vectors(1))
    assert "is not used" in caplog.text


def test_damaged_values_are_computed_again(tmp_path, caplog):
    fill(tmp_path, [1])
    (shard,) = tmp_path.iterdir()
    data = shard.read_bytes()
    at = data.index(vectors(1).tobytes())
    shard.write_bytes(data[:at] + b"\x7f" + data[at + 1 :])
    assert EmbeddingCache(tmp_path).get(key(1)) is None and "is damaged" in caplog.text
    fill(tmp_path, [1])
    assert np.array_equal(EmbeddingCache(tmp_path).get(key(1))[0], vectors(1))


WRITER = """
import sys
from tests.evaluation.test_cache import EmbeddingCache, Path, key, vectors
cache = EmbeddingCache(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    cache.add(key(number), vectors(number, windows=3, width=int(sys.argv[4])), [8] * 3)
    cache.flush()
    print(number, flush=True)
"""


def start_writer(folder: Path, first: int, stop: int, width: int = 8) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(folder), *map(str, (first, stop, width))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_process_killed_while_it_writes_leaves_a_valid_cache(tmp_path, caplog):
    with start_writer(tmp_path, 0, 10**6, 100_000) as writer:
        while (last := int(writer.stdout.readline())) < 3:
            pass
        deadline = time.monotonic() + 20  # until it is in the middle of a file
        while time.monotonic() < deadline:
            if any(path.stat().st_size > 0 for path in list(tmp_path.glob(f"{PREFIX}*")) if path.exists()):
                writer.send_signal(signal.SIGKILL)
                break
        writer.wait()
    assert writer.returncode == -signal.SIGKILL
    cache = EmbeddingCache(tmp_path)
    for number in range(last + 1):
        assert np.array_equal(cache.get(key(number))[0], vectors(number, 3, 100_000))
    assert not cache_size(tmp_path).damaged and not caplog.records
    fill(tmp_path, [10**7])
    assert not list(tmp_path.glob(f"{PREFIX}*"))  # what was left of the file is removed


def test_two_processes_share_a_cache(tmp_path):
    mine = EmbeddingCache(tmp_path)
    assert mine.get(key(0)) is None
    writers = [start_writer(tmp_path, 0, 20), start_writer(tmp_path, 10, 30)]
    for number in range(30, 40):
        mine.add(key(number), vectors(number), [8] * 3)
        mine.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    for number in range(40):
        assert np.array_equal(mine.get(key(number))[0], vectors(number))


def test_shards_of_other_processes_are_found_while_running(tmp_path):
    mine = EmbeddingCache(tmp_path)
    for number in range(5):
        assert mine.get(key(number)) is None
        fill(tmp_path, [number])
        assert mine.get(key(number)) is not None


def test_clearing_leaves_other_files(tmp_path):
    fill(tmp_path, range(3))
    (tmp_path / "notes.txt").write_text("mine")
    running = EmbeddingCache(tmp_path)
    assert running.get(key(0)) is not None
    assert clear_cache(tmp_path).entries == 3 and cache_size(tmp_path).files == 0
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    running.add(key(9), vectors(9), [8] * 3)
    running.flush()
    assert running.get(key(9)) is not None


def test_a_folder_that_cannot_be_written_only_warns(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(tmp_path / "file/embeddings")
    for number in range(2):
        assert cache.get(key(number)) is None
        cache.add(key(number), vectors(number), [8] * 3)
        cache.flush()
    assert len(caplog.records) == 1 and "not cached" in caplog.text


def test_the_command_measures_and_clears(tmp_path, monkeypatch, capsys):
    from soundloom.cli.main import main

    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path))
    with EmbeddingCache() as cache:
        cache.add(key(1), vectors(1), [8] * 3)
    assert cache.folder.parent == tmp_path
    assert main(["eval", "cache"]) == 0
    assert "1 embeddings in 1 files" in capsys.readouterr().out
    assert main(["eval", "cache", "clear", "--json"]) == 0
    assert '"entries": 1' in capsys.readouterr().out and cache_size().files == 0
    assert main(["eval", "cache", "shrink"]) == 2
