"""Adapters in the names of PEFT and diffusers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from soundloom.errors import MismatchError, ModelNotFoundError
from soundloom.lora.files.read import read_adapter
from soundloom.lora.modules import SECONDS
from tests.lora.files.make import QKV, SHAPES, assert_equal, make_tensors, save, write_native
from tests.lora.files.torch_files import TorchFile

PEFT_KINDS = {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight", "magnitude": "lora_magnitude_vector.weight"}


def peft_tensors(layers, prefix="base_model.model.", bare=False):
    return {
        f"{prefix}{layer.removeprefix('model.') if bare else layer}.{PEFT_KINDS[kind]}": array
        for layer, kinds in layers.items()
        for kind, array in kinds.items()
    }


def peft_folder(folder, tensors, **config):
    folder.mkdir()
    save(folder / "adapter_model.safetensors", tensors, format="pt")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 3, "lora_alpha": 6, **config}))
    return folder


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(("adapter_type", "use_dora"), [("lora", False), ("dora-rows", True)])
def test_peft_folders_hold_the_same(tmp_path, adapter_type, use_dora, bare):
    layers, expected = write_native(tmp_path, adapter_type)
    folder = peft_folder(tmp_path / "style", peft_tensors(layers, bare=bare), use_dora=use_dora, lora_dropout=0.1)
    found = read_adapter(folder)
    assert_equal(found, expected)
    assert (found.name, found.path, found.config["dropout"]) == ("style", folder, 0.1)


def test_weights_of_peft_may_be_pickled(tmp_path):
    layers, expected = write_native(tmp_path, "lora")
    folder = peft_folder(tmp_path / "style", peft_tensors(layers))
    (folder / "adapter_model.safetensors").unlink()
    file = TorchFile()
    file.save(folder / "adapter_model.bin", file.tensors(peft_tensors(layers)))
    assert_equal(read_adapter(folder), expected)


def test_ranks_and_alphas_of_peft_may_differ(tmp_path):
    layers = make_tensors("lora") | make_tensors("lora", rank=2, shapes={QKV: SHAPES[QKV]})
    patterns = {
        "rank_pattern": {"to_qkv": 2},
        "alpha_pattern": {"self_attn.to_qkv": 5, r"^model\.to_cond_embed\.0$": 9},
    }
    found = read_adapter(peft_folder(tmp_path / "a", peft_tensors(layers), **patterns))
    assert (found.modules[QKV].rank, found.modules[QKV].scale) == (2, 2.5)
    assert found.modules["model.to_cond_embed.0"].scale == 3.0
    assert found.modules["model.preprocess_conv"].scale == 2.0


def test_convolutions_of_peft_have_kernels(tmp_path):
    layers, expected = write_native(tmp_path)
    tensors = peft_tensors(layers)
    conv = "base_model.model.model.preprocess_conv"
    for kind, index in (("lora_A", (..., None)), ("lora_B", (..., None)), ("lora_magnitude_vector", (None, ..., None))):
        tensors[f"{conv}.{kind}.weight"] = tensors[f"{conv}.{kind}.weight"][index]
    assert_equal(read_adapter(peft_folder(tmp_path / "a", tensors, use_dora=True)), expected)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_dora": True}, "type is dora-rows, but its tensors are those of lora"),
        ({"peft_type": "IA3"}, "method IA3"),
        ({"init_lora_weights": "pissa_niter_16"}, "initialized by pissa_niter_16"),
        ({"lora_alpha": "six"}, "lora_alpha is six, not a number"),
        ({"alpha_pattern": {"(a+)+$": 3}}, r"alpha_pattern \(a\+\)\+\$; only names"),
        ({"r": -1}, "rank is -1"),
    ],
)
def test_configurations_of_peft_that_cannot_be_followed_are_rejected(tmp_path, config, message):
    with pytest.raises(MismatchError, match=message):
        read_adapter(peft_folder(tmp_path / "a", peft_tensors(make_tensors("lora")), **config))


def test_unknown_tensors_of_peft_are_rejected(tmp_path):
    tensors = peft_tensors(make_tensors("lora"))
    with pytest.raises(MismatchError, match=r"1 tensors of unknown kinds: .*modules_to_save"):
        read_adapter(peft_folder(tmp_path / "a", {**tensors, "base_model.model.modules_to_save.w": np.ones(2)}))
    with pytest.raises(MismatchError, match=r"do not have: unet\.down\.0"):
        read_adapter(
            peft_folder(
                tmp_path / "b",
                {f"base_model.model.unet.down.0.{k}.weight": np.ones((3, 3)) for k in ("lora_A", "lora_B")},
            )
        )
    (tmp_path / "b" / "adapter_config.json").write_text("{")
    with pytest.raises(MismatchError, match="cannot read"):
        read_adapter(tmp_path / "b")
    (tmp_path / "b" / "adapter_model.safetensors").unlink()
    (tmp_path / "b" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match=r"no adapter_model\.safetensors"):
        read_adapter(tmp_path / "b")


def test_peft_names_without_a_configuration_are_read_with_a_notice(tmp_path):
    layers = make_tensors("lora")
    found = read_adapter(save(tmp_path / "a.safetensors", peft_tensors(layers, "diffusion_model.", bare=True)))
    assert found.alpha == 3 and "alpha is taken to be the rank" in found.notices[0]
    assert set(found.modules) == set(SHAPES)


DIFFUSERS = {
    "model.preprocess_conv": "transformer.preprocess_conv",
    "model.to_cond_embed.0": "transformer.to_cond_embed.0",
    QKV: "transformer.transformer_blocks.0.self_attn.to_qkv",
    "model.transformer.layers.0.self_attn.to_out": "transformer.transformer_blocks.0.self_attn.to_out",
    "model.transformer.layers.1.ff.ff.0.proj": "transformer.transformer_blocks.1.ff.proj_in",
    SECONDS: "duration_embedder.linear",
    "model.transformer.project_out": "transformer.proj_out",
    "model.transformer.global_cond_embedder.2": "transformer.global_cond_embedder.2",
}
DIFFUSERS_SHAPES = {
    **SHAPES,
    "model.transformer.project_out": (8, 16),
    "model.transformer.global_cond_embedder.2": (96, 16),
}


@pytest.mark.parametrize("words", [("lora_A.weight", "lora_B.weight"), ("lora.down.weight", "lora.up.weight")])
def test_files_of_diffusers_hold_the_same(tmp_path, words):
    layers, expected = write_native(tmp_path, "lora", shapes=DIFFUSERS_SHAPES)
    kinds = dict(zip(("lora_A", "lora_B"), words, strict=True))
    tensors = {f"{DIFFUSERS[layer]}.{kinds[kind]}": a for layer, found in layers.items() for kind, a in found.items()}
    metadata = {"transformer.r": 3, "transformer.lora_alpha": 6, "transformer.use_dora": False}
    path = save(tmp_path / "a.safetensors", tensors, lora_adapter_metadata=json.dumps(metadata))
    found = read_adapter(path)
    assert_equal(found, expected)
    assert found.form == "diffusers"


def test_packed_rows_of_differential_attention_are_put_in_order(tmp_path):
    shapes = {QKV: (80, 16)}
    layers, expected = write_native(tmp_path, shapes=shapes)
    q, k, v, q2, k2 = (slice(16 * place, 16 * place + 16) for place in range(5))
    there = np.concatenate([np.arange(80)[part] for part in (q, q2, k, k2, v)])
    tensors = {}
    for kind, array in layers[QKV].items():
        tensors[f"{DIFFUSERS[QKV]}.{PEFT_KINDS[kind]}"] = array if kind == "lora_A" else array[there]
    metadata = {"transformer.r": 3, "transformer.lora_alpha": 6, "transformer.use_dora": True}
    assert_equal(
        read_adapter(save(tmp_path / "a.safetensors", tensors, lora_adapter_metadata=json.dumps(metadata))), expected
    )


@pytest.mark.parametrize("parts", [("q", "k", "v"), ("q", "k", "v", "q2", "k2"), ("v", "q")])
def test_separate_projections_become_one_packed_layer(tmp_path, parts):
    rng = np.random.default_rng(0)
    block = "transformer.transformer_blocks.0.self_attn.to_"
    order = ("q", "k", "v", "q2", "k2") if "q2" in parts else ("q", "k", "v")
    downs = {part: rng.standard_normal((2, 4)).astype(np.float16) for part in parts}
    ups = {part: rng.standard_normal((4, 2)).astype(np.float16) for part in parts}
    tensors = {f"{block}{part}.lora_A.weight": array for part, array in downs.items()}
    tensors |= {f"{block}{part}.lora_B.weight": array for part, array in ups.items()}
    tensors |= {f"{block}{part}.alpha": np.float32(1 + place) for place, part in enumerate(parts)}
    module = read_adapter(save(tmp_path / "a.safetensors", tensors)).modules[QKV]
    assert module.rank == 2 * len(parts)
    down, up = module.factors()
    expected = [
        (1 + parts.index(part)) / 2 * ups[part].astype(float) @ downs[part] if part in parts else np.zeros((4, 4))
        for part in order
    ]
    assert np.allclose(module.scale * up @ down, np.concatenate(expected), atol=1e-5)


def test_norms_of_separate_projections_are_joined_when_all_are_there(tmp_path):
    block = "transformer.transformer_blocks.0.self_attn.to_"
    tensors = {}
    for place, part in enumerate(("q", "v", "k")):
        tensors[f"{block}{part}.lora_A.weight"] = np.ones((2, 4), np.float16)
        tensors[f"{block}{part}.lora_B.weight"] = np.ones((4, 2), np.float16)
        tensors[f"{block}{part}.lora_magnitude_vector.weight"] = np.full(4, place, np.float16)
    found = read_adapter(save(tmp_path / "a.safetensors", tensors))
    assert found.type == "dora-rows"
    assert found.modules[QKV].array("magnitude").tolist() == [0] * 4 + [2] * 4 + [1] * 4
    left = {key: array for key, array in tensors.items() if ".to_v." not in key}
    with pytest.raises(MismatchError, match="norms of only some parts"):
        read_adapter(save(tmp_path / "b.safetensors", left))
    del left[f"{block}q.lora_magnitude_vector.weight"]
    with pytest.raises(MismatchError, match="do not belong together"):
        read_adapter(save(tmp_path / "b.safetensors", left))
