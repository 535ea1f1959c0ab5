"""Damaged files of weights: each is read or refused in one sentence, and nothing else happens."""

from __future__ import annotations

import io
import os
import shutil
import warnings

import numpy as np
import pytest
from robustness import formats
from robustness.mutators import Outcomes, inputs

from soundloom.checkpoints.make import make_random
from soundloom.checkpoints.musicgen_make import make_musicgen, tiny_musicgen
from soundloom.checkpoints.musicgen_named import is_music
from soundloom.checkpoints.musicgen_open import open_musicgen
from soundloom.checkpoints.npy_file import read_npy
from soundloom.checkpoints.npz_file import read_npz
from soundloom.checkpoints.open import open_checkpoint
from soundloom.checkpoints.pickle_file import read_pickle, tensors_of
from soundloom.checkpoints.safetensors_file import read_safetensors
from soundloom.checkpoints.verify import verify
from soundloom.config.musicgen import published_musicgen

PLAIN, EDITOR = (tiny_musicgen(published_musicgen("large", instruct=instruct)) for instruct in (False, True))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a function that makes a tiny model in a layout, once."""
    root = tmp_path_factory.mktemp("f")
    made = {}

    def make(layout):
        if layout not in made:
            if layout in ("published", "npz", "int4"):
                made[layout] = make_random("small-music", root / layout, layout, "tiny")
            else:
                pytest.importorskip("torch", reason="PyTorch, which writes some of the layouts, is not installed")
                config = EDITOR if layout in ("instruct", "bundle", "musicgen") else PLAIN
                made[layout] = make_musicgen(config, root / layout, layout)
        return made[layout]

    return make


def read_all(path):
    """Open a model as the command line does and read every byte of it."""
    checkpoint = open_musicgen(path) if is_music(path) else open_checkpoint(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # arithmetic on damaged weights
        verify(checkpoint)
    return checkpoint


def damage(folder, name, mutate, count, tmp_path):
    """Open copies of a model folder in each of which one file is damaged; return what became of them."""
    copy = tmp_path / "m" / folder.name
    shutil.copytree(folder, copy)
    whole, found = (folder / name).read_bytes(), Outcomes(str(copy))
    for number, rng in enumerate(inputs(count, f"{folder.name} {name} {mutate.__name__}")):
        replace(copy / name, mutate(whole, rng))
        found.check(lambda: read_all(copy), f"{folder.name}/{name}, input {number}")
    return found


def replace(path, data):
    """Give a file new content without touching the old, of which mappings may live."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)  # noqa: PTH105


CASES = [
    ("published", "model.safetensors", formats.mutate_safetensors, 60),
    ("npz", "dit_sm-music_f16.npz", formats.mutate_npz, 60),
    ("npz", "same_s_encoder_f32.npz", formats.mutate_npz, 30),
    ("npz", "t5gemma_f16.npz", formats.mutate_npz, 30),
    ("int4", "dit_sm_music/model.safetensors", formats.mutate_safetensors, 40),
    ("musicgen", "model.safetensors", formats.mutate_safetensors, 40),
    ("bundle", "model.safetensors", formats.mutate_safetensors, 40),
    ("transformers", "model.safetensors", formats.mutate_safetensors, 40),
    ("audiocraft", "state_dict.bin", formats.mutate_saved, 40),
    ("audiocraft", "compression_state_dict.bin", formats.mutate_saved, 40),
    ("instruct", "finetuned.ckpt", formats.mutate_saved, 40),
]


@pytest.mark.parametrize(("layout", "name", "mutate", "count"), CASES)
def test_damaged_weights(folders, tmp_path, layout, name, mutate, count):
    damage(folders(layout), name, mutate, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "name", "mutate", "count"), CASES)
def test_many_damaged_weights(folders, tmp_path, layout, name, mutate, count):
    found = damage(folders(layout), name, mutate, 20 * count, tmp_path)
    assert found.counts["refused"]


def small_safetensors():
    from soundloom.checkpoints.safetensors_file import _encode_header
    from soundloom.checkpoints.tensors import from_array

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
