"""Adapters in files of torch.save: native ones, and training checkpoints."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import bf16_to_float32, float32_to_bf16
from soundloom.errors import RequestError
from soundloom.lora.adapter import TYPES
from soundloom.lora.files.read import read_adapter
from soundloom.lora.modules import SECONDS
from tests.lora.files.make import QKV, SHAPES, assert_equal, config_of, flat, make_tensors, write_native
from tests.lora.files.torch_files import BFloat16, TorchFile, call, name, save_checkpoint


@pytest.mark.parametrize("adapter_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_torch_files_hold_the_same(tmp_path, adapter_type, dtype):
    layers, expected = write_native(tmp_path, adapter_type)
    arrays = {key: array.astype(dtype) for key, array in flat(layers).items()}
    found = read_adapter(save_checkpoint(tmp_path / "a.ckpt", arrays, config_of(adapter_type)))
    assert_equal(found, expected)
    assert found.form == "ckpt" and found.config == expected.config


def test_bfloat16_is_read_exactly(tmp_path):
    layers = make_tensors("lora", dtype=np.float32)
    bits = {key: float32_to_bf16(array) for key, array in flat(layers).items()}
    found = read_adapter(
        save_checkpoint(tmp_path / "a.ckpt", {k: BFloat16(b) for k, b in bits.items()}, config_of("lora"))
    )
    key = f"{QKV}.parametrizations.weight.0.lora_A"
    assert np.array_equal(found.modules[QKV].array("lora_A"), bf16_to_float32(bits[key]))


def test_transposed_tensors_are_read(tmp_path):
    layers, expected = write_native(tmp_path, "lora")
    file = TorchFile()
    state = {
        key: file.tensor(np.ascontiguousarray(array.T), array.shape, (1, array.shape[0]))
        for key, array in flat(layers).items()
    }
    assert_equal(
        read_adapter(file.save(tmp_path / "a.ckpt", {"state_dict": state, "lora_config": config_of("lora")})), expected
    )


def test_a_state_dict_alone_and_a_renamed_file_are_read(tmp_path):
    layers, expected = write_native(tmp_path)
    file = TorchFile()
    path = file.save(tmp_path / "weights", {**file.tensors(flat(layers)), "lora_config": config_of("dora-rows")})
    assert_equal(read_adapter(path), expected)
    renamed = tmp_path / "a.ckpt"
    shutil.copy(tmp_path / "native.safetensors", renamed)
    assert_equal(read_adapter(renamed), expected)
    for copy in ("b.gguf", "c.safetensors"):
        shutil.copy(path, tmp_path / copy)
        assert_equal(read_adapter(tmp_path / copy), expected)


def training_checkpoint(path, layers, ema=None, prefixes=("diffusion.model.", "diffusion.conditioner."), **others):
    """Write a checkpoint of Lightning with an adapter among other weights."""
    file = TorchFile()

    def key(layer, kind, average=False):
        inner = f"{layer}.parametrizations.weight.0.{kind}"
        if average:
            return f"diffusion_ema.ema_model.{inner}"
        return prefixes[layer.startswith("conditioners.")] + inner

    arrays = {key(layer, kind): array for layer, kinds in layers.items() for kind, array in kinds.items()}
    if ema:
        transformer = {layer: kinds for layer, kinds in ema.items() if layer.startswith("model.")}
        arrays |= {
            key(layer, kind, True): array for layer, kinds in transformer.items() for kind, array in kinds.items()
        }
    arrays |= {
        f"{prefixes[0]}{QKV}.parametrizations.weight.original": np.zeros((48, 16), np.float32),
        f"{prefixes[0]}model.transformer.memory_tokens": np.zeros((2, 16), np.float32),
    }
    data = {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": file.tensors(arrays),
        "loops": {"fit_loop": call(name("pytorch_lightning.loops", "FitLoop"), 1)},
        "optimizer_states": [{"state": {0: {"exp_avg": file.tensor(np.zeros(3))}}}],
        "callbacks": {"ModelCheckpoint": {"path": call(name("pathlib", "PosixPath"), "runs", "best")}},
        **others,
    }
    return file.save(path, data)


def test_training_checkpoints_are_read_without_the_rest(tmp_path):
    layers, expected = write_native(tmp_path)
    found = read_adapter(training_checkpoint(tmp_path / "a.ckpt", layers, lora_config=config_of("dora-rows")))
    assert_equal(found, expected)
    assert found.notices == ("2 other tensors of the training checkpoint were left out",)
    assert set(found.modules) == set(SHAPES)


def test_the_moving_average_is_read_on_request(tmp_path):
    layers, expected = write_native(tmp_path)
    average = make_tensors("dora-rows", seed=1)
    path = training_checkpoint(tmp_path / "a.ckpt", layers, average, lora_config=config_of("dora-rows"))
    found = read_adapter(path)
    assert_equal(found, expected)
    assert "--ema" in found.notices[1]
    found = read_adapter(path, ema=True)
    assert np.array_equal(found.modules[QKV].array("lora_A"), average[QKV]["lora_A"])
    assert np.array_equal(found.modules[SECONDS].array("lora_A"), layers[SECONDS]["lora_A"])
    with pytest.raises(RequestError, match="no moving average"):
        read_adapter(training_checkpoint(tmp_path / "b.ckpt", layers), ema=True)
    with pytest.raises(RequestError, match="no moving average"):
        read_adapter(tmp_path / "native.safetensors", ema=True)


def test_a_training_checkpoint_without_configuration_says_so(tmp_path):
    layers, _ = write_native(tmp_path)
    found = read_adapter(training_checkpoint(tmp_path / "a.ckpt", layers))
    assert found.type == "dora-rows" and found.alpha == 3 and "no lora_config" in found.notices[1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_files_that_pytorch_saved_are_read(tmp_path, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch, which writes the file, is not installed")
    layers, expected = write_native(tmp_path, "dora-cols")
    state = {key: torch.from_numpy(array).to(getattr(torch, dtype)) for key, array in flat(layers).items()}
    torch.save({"state_dict": state, "lora_config": config_of("dora-cols")}, tmp_path / "a.ckpt")
    found = read_adapter(tmp_path / "a.ckpt")
    if dtype != "bfloat16":
        assert_equal(found, expected)
    for layer, module in found.modules.items():
        for kind, tensor in module.tensors.items():
            saved = state[f"{layer}.parametrizations.weight.0.{kind}"].float().numpy()
            assert np.array_equal(tensor.numpy(), saved)
