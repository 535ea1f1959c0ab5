import hashlib

import numpy as np
import pytest

from soundloom.checkpoints.make import make_random
from soundloom.checkpoints.open import open_checkpoint
from soundloom.checkpoints.safetensors_file import read_safetensors, write_safetensors
from soundloom.checkpoints.tensors import from_array
from soundloom.checkpoints.verify import verify


def spoil(path, name, dtype):
    tensors = read_safetensors(path)
    values = tensors[name].numpy().copy()
    values.reshape(-1)[[0, -1]] = np.nan, np.inf
    tensors[name] = from_array(name, values).cast(dtype)
    write_safetensors(path, tensors.values())
    (path.parent / "sha256.json").unlink()


def test_a_sound_checkpoint_is_reported_with_its_digests(tmp_path):
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
