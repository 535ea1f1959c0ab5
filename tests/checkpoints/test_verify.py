import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.hashes import HASHES_FILE, write_hashes
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.errors import CorruptFileError
from soundloom.testing.stable_audio import make_random


def spoil(path, name, dtype):
    tensors = read_safetensors(path)
    values = tensors[name].numpy().copy()
    values.reshape(-1)[[0, -1]] = np.nan, np.inf
    tensors[name] = from_array(name, values).cast(dtype)
    write_safetensors(path, tensors.values())
    (path.parent / "sha256.json").unlink()


def test_an_undamaged_checkpoint_is_reported_with_its_hashes(tmp_path):
    report = verify(open_checkpoint(make_random("small-music", tmp_path, size="tiny")))
    assert report.ok
    assert [file.path.parent.name for file in report.files][1] == "t5gemma-b-b-ul2"
    path = tmp_path / "model.safetensors"
    assert report.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.files[0].size == path.stat().st_size


@pytest.mark.parametrize(("layout", "dtype"), [("published", "F32"), ("bf16-mirror", "BF16")])
def test_values_that_are_not_finite_are_counted_and_named(tmp_path, layout, dtype):
    folder = make_random("same-s", tmp_path, layout, "tiny")
    spoil(folder / "model.safetensors", "encoder.layers.2.weight", dtype)
    report = verify(open_checkpoint(folder))
    assert not report.ok
    assert report.faults == ("pretransform.model.encoder.layers.2.weight: 2 of 16384 values are not finite",)


@pytest.fixture
def digested(monkeypatch):
    """Count how often the hash of each file is computed."""
    counts, digest = Counter(), hashlib.file_digest

    def file_digest(file, name):
        counts[Path(file.name).resolve()] += 1
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", file_digest)
    return counts


@pytest.mark.parametrize("entry", ["same-s", "small-music"])
def test_each_file_is_read_once_for_its_digest(tmp_path, monkeypatch, digested, entry):
    folder = make_random(entry, tmp_path / "model", size="tiny")
    write_hashes(folder)
    digested.clear()
    monkeypatch.chdir(tmp_path)  # relative and absolute names of a file
    assert verify(open_checkpoint(Path("model"))).ok
    assert digested and set(digested.values()) == {1}


@pytest.mark.parametrize(
    "text", ["not JSON", "[]", "{}", '{"files": []}', '{"files": {"model.safetensors": 1}}', "[" * 99]
)
def test_unrelated_hashes_in_the_parent_folder_are_ignored(tmp_path, text):
    folder = make_random("same-s", tmp_path / "model", size="tiny")
    (tmp_path / HASHES_FILE).write_text(text)
    assert verify(open_checkpoint(folder)).ok
    (folder / HASHES_FILE).unlink()
    report = verify(open_checkpoint(folder))
    assert report.ok and report.unrecorded


def test_hash_files_are_limited_in_size(tmp_path):
    folder = make_random("same-s", tmp_path, size="tiny")
    for text in ("[" * 5000, '{"files": {}, "made": NaN}', " " * (1 << 24) + "{}"):
        (folder / HASHES_FILE).write_text(text)
        with pytest.raises(CorruptFileError, match=r"sha256\.json cannot be read: ") as caught:
            verify(open_checkpoint(folder))
        assert "remove it" in caught.value.hint
