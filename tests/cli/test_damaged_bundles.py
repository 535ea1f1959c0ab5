"""Damaged quantized files are reported on both engines."""

import json
import shutil

import numpy as np
import pytest

from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.testing.stable_audio import make_random

LAYER = "transformer.layers.1.ff.ff.2"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed")
    return {layout: make_random("small-music", root / layout, layout, "tiny") for layout in ("int4", "int8")}


def change(part, edit):
    path = part / "model.safetensors"
    tensors = {name: from_array(name, t.numpy().copy()) for name, t in read_safetensors(path).items()}
    edit(tensors)
    write_safetensors(path, tensors.values())


def truncate(part):
    path = part / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def lose_scales(part):
    change(part, lambda tensors: tensors.pop(f"{LAYER}.scales"))


def unpack_one(part):
    weight = from_array(f"{LAYER}.weight", np.ones((128, 512), np.float16))
    change(part, lambda tensors: tensors.update({weight.name: weight}))


def cut_words(part):
    def cut(tensors):
        words = tensors[f"{LAYER}.weight"].numpy()
        tensors[f"{LAYER}.weight"] = from_array(f"{LAYER}.weight", words[:, :-1].copy())

    change(part, cut)


def claim_groups_of_48(part):
    (part / "manifest.json").write_text(json.dumps({"group_size": 48}))


def claim_three_bits(part):
    (part / "manifest.json").write_text(json.dumps({"group_size": 64, "bits": 3}))


def spoil_scales(part):
    def spoil(tensors):
        tensors[f"{LAYER}.scales"].numpy()[0, 0] = np.nan

    change(part, spoil)


DAMAGE = {
    truncate: "truncated",
    lose_scales: "without its scales",
    unpack_one: "mixes layouts",
    cut_words: "do not divide into values",
    claim_groups_of_48: "groups of 48",
    claim_three_bits: "its manifest.json says 3",
    spoil_scales: "not finite",
}


@pytest.mark.parametrize("engine", ["torch", "mlx"])
@pytest.mark.parametrize("layout", ["int4", "int8"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_reported(soundloom, made, tmp_path, damage, layout, engine):
    pytest.importorskip("torch" if engine == "torch" else "mlx.core")
    bundle = shutil.copytree(made[layout], tmp_path / "bundle")
    damage(bundle / "dit_sm_music")
    done = soundloom(
        *("generate", "rain", "--model", bundle, "--engine", engine, "--device", "cpu"),
        *("--seconds", 0.1, "--steps", 1, "-o", "rain.wav"),
    )
    assert done.code == 1
    assert DAMAGE[damage] in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "rain.wav").exists()
