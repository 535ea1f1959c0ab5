"""Files written here load in the published package, and its files here. Runs where that package is installed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from soundloom.lora.adapter import TYPES, is_xs
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.files.read import read_adapter
from soundloom.lora.files.write import write_adapter
from tests.lora.files.make import SHAPES, make_adapter, make_tensors, write_native

torch = pytest.importorskip("torch", reason="PyTorch, which the published package needs, is not installed")
loader = pytest.importorskip("stable_audio_3.models.lora.loader", reason="the published package is not installed")
utils = pytest.importorskip("stable_audio_3.models.lora.utils")

CONVOLUTION = "model.preprocess_conv"


class Tree(torch.nn.Module):
    """Modules by dotted names."""

    def put(self, name, module):
        head, _, rest = name.partition(".")
        if not rest:
            self.add_module(head, module)
            return
        if not hasattr(self, head):
            self.add_module(head, Tree())
        getattr(self, head).put(rest, module)


def make_model(seed=3):
    """Return a model with the layers of the small adapters, as the published package nests them, and their weights."""
    rng = np.random.default_rng(seed)
    model, weights = Tree(), {}
    for name, (outputs, inputs) in SHAPES.items():
        weights[name] = rng.standard_normal((outputs, inputs)).astype(np.float32)
        if name == CONVOLUTION:
            module = torch.nn.Conv1d(inputs, outputs, 1, bias=False)
        else:
            module = torch.nn.Linear(inputs, outputs)
        module.weight.data = torch.from_numpy(weights[name].copy()).reshape(module.weight.shape)
        model.put(("model." if name.startswith("model.") else "conditioner.") + name, module)
    return model, weights


def effective_weights(model):
    """Return the weights that a model computes with, by the layers' names in adapter files."""
    found = {}
    for name in SHAPES:
        module = model
        for part in (("model." if name.startswith("model.") else "conditioner.") + name).split("."):
            module = module[int(part)] if part.isdecimal() and not hasattr(module, part) else getattr(module, part)
        found[name] = module.weight.detach().numpy().reshape(len(module.weight), -1)
    return found


@pytest.mark.parametrize("adapter_type", TYPES)
@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_written_files_give_the_same_weights_there(tmp_path, adapter_type, dtype):
    adapter = make_adapter(adapter_type, bases=True, alpha=4.0, config={"step": 5, "trigger": "zxq"})
    path = tmp_path / "a.safetensors"
    write_adapter(path, adapter, dtype=dtype)
    model, weights = make_model()
    assert loader.load_and_apply_loras(model, [str(path)], "diffusion_cond") == ["a"]
    found, read = effective_weights(model), read_adapter(path)
    for name, weight in weights.items():
        expected = adapted_weight(weight, [AdapterPart(read.modules[name], 1.0, "full")])
        assert np.allclose(found[name], expected, rtol=1e-4, atol=1e-4), name


@pytest.mark.parametrize("adapter_type", [name for name in TYPES if not is_xs(name)])
def test_files_of_the_package_read_equal(tmp_path, adapter_type):
    layers, expected = write_native(tmp_path, adapter_type)
    model, _ = make_model()
    loader.load_and_apply_loras(model, [str(tmp_path / "native.safetensors")], "diffusion_cond")
    state = {**utils.get_lora_state_dict(model.model), **utils.get_lora_state_dict(model.conditioner)}
    config = {key: expected.config[key] for key in ("rank", "alpha", "adapter_type", "dropout", "include", "exclude")}
    utils.save_lora_safetensors(state, config, tmp_path / "b.safetensors")
    torch.save({"state_dict": state, "lora_config": config}, tmp_path / "b.ckpt")
    for path in (tmp_path / "b.safetensors", tmp_path / "b.ckpt"):
        assert read_adapter(path).sha256 == expected.sha256, path.suffix
    assert json.loads(json.dumps(config)) == config and set(layers) == set(SHAPES)


def test_layers_of_other_ranks_load_there(tmp_path):
    adapter = make_adapter("lora")
    name = "model.to_cond_embed.0"
    small = make_adapter("lora", rank=1, alpha=5.0, shapes={name: SHAPES[name]}).modules[name]
    mixed = type(adapter)("mixed", "lora", 3, 6.0, {**adapter.modules, name: small})
    write_adapter(tmp_path / "a.safetensors", mixed, dtype="F32")
    model, weights = make_model()
    loader.load_and_apply_loras(model, [str(tmp_path / "a.safetensors")], "diffusion_cond")
    expected = adapted_weight(weights[name], [AdapterPart(small, 1.0, "full")])
    assert np.allclose(effective_weights(model)[name], expected, atol=1e-5)
    assert make_tensors("lora").keys() == mixed.modules.keys()
