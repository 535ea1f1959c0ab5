"""Adapters in the names of kohya and ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.errors import MismatchError
from soundloom.lora.files.read import read_adapter
from tests.lora.files.make import assert_equal, save, write_native

KOHYA_KINDS = {"lora_A": "lora_down.weight", "lora_B": "lora_up.weight", "magnitude": "dora_scale"}


@pytest.mark.parametrize("style", ["lora_unet", "diffusion_model"])
@pytest.mark.parametrize("adapter_type", ["lora", "dora-rows", "dora-cols"])
def test_files_of_kohya_hold_the_same(tmp_path, style, adapter_type):
    layers, expected = write_native(tmp_path, adapter_type)
    tensors = {}
    for layer, kinds in layers.items():
        inner = layer.removeprefix("model.")
        stem = f"lora_unet_{inner.replace('.', '_')}" if style == "lora_unet" else f"diffusion_model.{inner}"
        tensors[f"{stem}.alpha"] = np.float32(6)
        for kind, array in kinds.items():
            axis = -1 if adapter_type == "dora-rows" else 0
            tensors[f"{stem}.{KOHYA_KINDS[kind]}"] = np.expand_dims(array, axis) if kind == "magnitude" else array
    found = read_adapter(save(tmp_path / "a.safetensors", tensors))
    assert_equal(found, expected)
    assert found.form == "kohya" and found.notices == ()


def test_kohya_files_of_other_models_and_methods_are_rejected(tmp_path):
    pair = {"lora_down.weight": np.ones((3, 4), np.float16), "lora_up.weight": np.ones((4, 3), np.float16)}
    for layer in ("lora_unet_down_blocks_0_attentions_0_proj_in", "lora_te_text_model_encoder_layers_0"):
        with pytest.raises(MismatchError, match=f"do not have: {layer}"):
            read_adapter(save(tmp_path / "a.safetensors", {f"{layer}.{kind}": array for kind, array in pair.items()}))
    layer = "lora_unet_preprocess_conv"
    known = {f"{layer}.{kind}": array for kind, array in pair.items()}
    with pytest.raises(MismatchError, match=r"unknown kinds: .*lora_mid"):
        read_adapter(save(tmp_path / "a.safetensors", {**known, f"{layer}.lora_mid.weight": np.ones((3, 3))}))
    with pytest.raises(MismatchError, match="not one number"):
        read_adapter(save(tmp_path / "a.safetensors", {**known, f"{layer}.alpha": np.ones(2)}))
    assert "no alpha" in read_adapter(save(tmp_path / "a.safetensors", known)).notices[0]
    with pytest.raises(MismatchError, match=r"no known kind of adapter: .*hada_w1_a") as caught:
        read_adapter(save(tmp_path / "a.safetensors", {f"{layer}.hada_w1_a": np.ones((3, 3))}))
    assert "safetensors" in caught.value.hint
