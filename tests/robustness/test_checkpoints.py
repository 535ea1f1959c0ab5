"""Damaged weight files are read or rejected with one message."""

from __future__ import annotations

import io

import numpy as np
import pytest

from soundloom.checkpoints.formats.npy import read_npy
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.checkpoints.formats.safetensors import read_safetensors
from tests.robustness.mutators import formats
from tests.robustness.mutators.base import Outcomes, inputs
from tests.robustness.mutators.models import damage, read_all, replace

CASES = [
    ("published", "model.safetensors", formats.mutate_safetensors, 20),
    ("npz", "dit_sm-music_f16.npz", formats.mutate_npz, 12),
    ("npz", "same_s_encoder_f32.npz", formats.mutate_npz, 8),
    ("npz", "t5gemma_f16.npz", formats.mutate_npz, 8),
    ("int4", "dit_sm_music/model.safetensors", formats.mutate_safetensors, 12),
    ("musicgen", "model.safetensors", formats.mutate_safetensors, 10),
    ("bundle", "model.safetensors", formats.mutate_safetensors, 10),
    ("transformers", "model.safetensors", formats.mutate_safetensors, 10),
    ("audiocraft", "state_dict.bin", formats.mutate_saved, 10),
    ("audiocraft", "compression_state_dict.bin", formats.mutate_saved, 10),
    ("instruct", "finetuned.ckpt", formats.mutate_saved, 6),
]


@pytest.mark.parametrize(("layout", "name", "mutate", "count"), CASES)
def test_damaged_weights(folders, tmp_path, layout, name, mutate, count):
    damage(folders(layout), name, mutate, read_all, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "name", "mutate", "count"), CASES)
def test_many_damaged_weights(folders, tmp_path, layout, name, mutate, count):
    found = damage(folders(layout), name, mutate, read_all, 25 * count, tmp_path)
    assert found.counts["refused"] and found.counts["read"]


def small_safetensors():
    from soundloom.checkpoints.formats.safetensors import _encode_header
    from soundloom.checkpoints.formats.tensors import from_array

    tensors = [from_array(f"layers.{i}.weight", np.ones((2, 3), np.float32)) for i in range(4)]
    header = _encode_header(tensors, {"format": "pt"})
    return len(header).to_bytes(8, "little") + header + b"".join(t.data().tobytes() for t in tensors)


def small_npz():
    stream = io.BytesIO()
    np.savez(stream, a=np.ones((2, 3), np.float32), b=np.zeros(4), c=np.asfortranarray(np.eye(3)))
    return stream.getvalue()


def small_npy():
    stream = io.BytesIO()
    np.save(stream, np.ones((4, 3), np.float32))
    return stream.getvalue()


def small_saved():
    torch = pytest.importorskip("torch", reason="PyTorch, which writes the files, is not installed")
    stream = io.BytesIO()
    tensor = torch.arange(20.0).reshape(4, 5)
    torch.save({"best_state": {"a": tensor, "b": tensor.T, "c": tensor[:, ::2]}, "n": [1, (2.5, None)]}, stream)
    return stream.getvalue()


def read_saved(path):
    data = read_pickle(path)
    return tensors_of(data.get("best_state") if isinstance(data, dict) else None, str(path))


READERS = [
    ("a.safetensors", small_safetensors, formats.mutate_safetensors, read_safetensors, 400),
    ("a.npz", small_npz, formats.mutate_npz, read_npz, 400),
    ("a.bin", small_saved, formats.mutate_saved, read_saved, 400),
    ("a.npy", small_npy, formats.mutate_npy, read_npy, 400),
]


def read_damaged(tmp_path, case, count):
    name, make, mutate, read, _ = case
    whole, found, path = make(), Outcomes(str(tmp_path)), tmp_path / name
    for number, rng in enumerate(inputs(count, name)):
        replace(path, mutate(whole, rng))
        result = found.check(lambda: read(path), f"{name}, input {number}")
        for tensor in result.values() if isinstance(result, dict) else ():
            assert tensor.numpy().shape == tensor.shape, f"{name}, input {number}"
    return found


@pytest.mark.parametrize("case", READERS, ids=lambda case: case[0])
def test_damaged_small_files(tmp_path, case):
    found = read_damaged(tmp_path, case, case[-1])
    assert found.counts["refused"] and found.counts["read"]


@pytest.mark.slow
@pytest.mark.parametrize("case", READERS, ids=lambda case: case[0])
def test_many_damaged_small_files(tmp_path, case):
    read_damaged(tmp_path, case, 10 * case[-1])
