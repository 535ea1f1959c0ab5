"""Damaged adapter files of every form are read or rejected with one message."""

from __future__ import annotations

import json

import numpy as np
import pytest

from soundloom.lora.files.detect import adapters_in
from soundloom.lora.files.read import read_adapter
from tests.lora.files.make import GOLDEN, config_of, flat, make_tensors, save
from tests.lora.files.test_gguf import STEMS, gguf
from tests.lora.files.test_peft import peft_tensors
from tests.lora.files.torch_files import save_checkpoint
from tests.robustness.mutators import formats
from tests.robustness.mutators.base import Outcomes, inputs, mutate_bytes, mutate_json

SHAPES = {"model.preprocess_conv": (4, 3), "model.transformer.layers.0.self_attn.to_qkv": (6, 4)}


def native(path):
    return save(path / "a.safetensors", flat(make_tensors("bora", shapes=SHAPES)), config_of("bora", step=3))


def xs(path):
    return save(path / "a.safetensors", flat(make_tensors("dora-cols-xs", shapes=SHAPES, bases=True)))


def checkpoint(path):
    return save_checkpoint(path / "a.ckpt", flat(make_tensors("dora-rows", shapes=SHAPES)), config_of("dora-rows"))


def recorded(path):
    target = path / "a.ckpt"
    target.write_bytes((GOLDEN / "part.ckpt").read_bytes())
    return target


def peft(path):
    return save(path / "adapter_model.safetensors", peft_tensors(make_tensors("dora-rows", shapes=SHAPES)))


def kohya(path):
    pair = {"lora_down.weight": np.ones((2, 3), np.float16), "lora_up.weight": np.ones((4, 2), np.float16)}
    tensors = {f"lora_unet_preprocess_conv.{kind}": array for kind, array in pair.items()}
    return save(path / "a.safetensors", {**tensors, "lora_unet_preprocess_conv.alpha": np.float32(2)})


def sa3_cpp(path):
    shapes = dict.fromkeys(STEMS, (4, 3))
    return gguf(path / "a.gguf", make_tensors("dora-rows", shapes=shapes), "dora-rows")


CASES = [
    (native, formats.mutate_safetensors, 60),
    (xs, formats.mutate_safetensors, 40),
    (checkpoint, formats.mutate_saved, 60),
    (recorded, formats.mutate_saved, 20),
    (peft, formats.mutate_safetensors, 40),
    (kohya, formats.mutate_safetensors, 40),
    (sa3_cpp, mutate_bytes, 80),
]


def use(path):
    """Read an adapter and compute with it."""
    adapter = read_adapter(path)
    for module in adapter.modules.values():
        if module.has_factors:
            with np.errstate(all="ignore"):
                down, up = module.factors()
                _ = module.scale * up @ down
        _ = module.rows, module.cols
    return adapter


def damage(make, mutate, count, tmp_path):
    path = make(tmp_path)
    whole = path.read_bytes()
    assert use(path).modules
    outcomes = Outcomes(str(path))
    for number, rng in enumerate(inputs(count, make.__name__)):
        path.write_bytes(mutate(whole, rng))
        outcomes.check(lambda: use(path), f"{make.__name__} {number}")
        assert len(adapters_in(tmp_path)) <= 1
    return outcomes


@pytest.mark.parametrize(("make", "mutate", "count"), CASES)
def test_damaged_adapters(tmp_path, make, mutate, count):
    damage(make, mutate, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "mutate", "count"), CASES)
def test_many_damaged_adapters(tmp_path, make, mutate, count):
    found = damage(make, mutate, 50 * count, tmp_path)
    assert found.counts["refused"] and found.counts["read"]


@pytest.mark.parametrize("where", ["lora_config", "adapter_config.json", "lora_adapter_metadata"])
def test_damaged_configurations(tmp_path, where):
    """Configurations of native files and of PEFT, in JSON."""
    tensors = peft_tensors(make_tensors("lora", shapes=SHAPES))
    whole = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "alpha_pattern": {"to_qkv": 2}, "use_dora": False}
    if where == "lora_config":
        tensors, whole = flat(make_tensors("lora", shapes=SHAPES)), config_of("lora", include=["layers"])
    path = tmp_path / "adapter_model.safetensors"
    outcomes = Outcomes(str(path))
    for number, rng in enumerate(inputs(80, where)):
        data = mutate_json(json.dumps(whole).encode(), rng)
        metadata = {}
        if where == "adapter_config.json":
            (tmp_path / where).write_bytes(data)
        else:
            metadata = {where: data.decode("utf-8", "replace")}
        save(path, tensors, **metadata)
        outcomes.check(lambda: use(path), f"{where} {number}")
