"""Small adapters of every type, and the tensors of their files in other forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.lora.adapter import Adapter, ModuleAdapter, is_xs
from soundloom.lora.files.read import read_adapter

GOLDEN = Path(__file__).parents[2] / "golden" / "lora"

# Names and shapes (out, in) of layers: packed, square, of a convolution, and of the conditioner.
SHAPES = {
    "model.preprocess_conv": (8, 8),
    "model.to_cond_embed.0": (16, 12),
    "model.transformer.layers.0.self_attn.to_qkv": (48, 16),
    "model.transformer.layers.0.self_attn.to_out": (16, 16),
    "model.transformer.layers.1.ff.ff.0.proj": (32, 16),
    "conditioners.seconds_total.embedder.embedding.1": (12, 20),
}
QKV = "model.transformer.layers.0.self_attn.to_qkv"
SQUARE = ("model.preprocess_conv", "model.transformer.layers.0.self_attn.to_out")


def make_tensors(adapter_type, rank=3, shapes=SHAPES, dtype=np.float16, bases=False, seed=0):
    """Return the tensors of an adapter by layer and kind."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    layers = {}
    for name, (outputs, inputs) in shapes.items():
        found = {"M_xs": normal(rank, rank)}
        if not is_xs(adapter_type):
            found = {"lora_A": normal(rank, inputs), "lora_B": normal(outputs, rank)}
        elif bases:
            found |= {"U": normal(outputs, rank), "V": normal(inputs, rank)}
        if adapter_type.startswith("dora"):
            found["magnitude"] = normal(outputs if "rows" in adapter_type else inputs)
        if adapter_type.startswith("bora"):
            found |= {"magnitude_r": normal(outputs), "magnitude_c": normal(inputs)}
        layers[name] = found
    return layers


def make_adapter(adapter_type="dora-rows", rank=3, alpha=6.0, config=None, **options):
    """Return an adapter in memory."""
    modules = {
        name: ModuleAdapter(
            name, adapter_type, rank, alpha / rank, {kind: from_array(kind, array) for kind, array in tensors.items()}
        )
        for name, tensors in make_tensors(adapter_type, rank, **options).items()
    }
    return Adapter("made", adapter_type, rank, alpha, modules, config or {})


def config_of(adapter_type, rank=3, alpha=6.0, **more):
    return {"rank": rank, "alpha": alpha, "adapter_type": adapter_type, "include": None, "exclude": None, **more}


def flat(layers, key="{layer}.parametrizations.weight.0.{kind}"):
    """Return tensors by the keys of a file."""
    return {
        key.format(layer=layer, kind=kind): array for layer, kinds in layers.items() for kind, array in kinds.items()
    }


def save(path, tensors, config=None, **metadata):
    """Write arrays to a safetensors file; `config` is its lora_config."""
    if config is not None:
        metadata["lora_config"] = config if isinstance(config, str) else json.dumps(config)
    write_safetensors(path, [from_array(name, np.asarray(array)) for name, array in tensors.items()], metadata)
    return path


def arrays(adapter):
    """Return what an adapter computes with, as float32 arrays by layer and kind."""
    return {
        (name, kind): module.array(kind)
        for name, module in adapter.modules.items()
        for kind in module.tensors
        if kind != "baked_vnorm_row"
    }


def assert_equal(found, expected):
    """Check that two adapters have the same layers, scales and values, and hence the same hash."""
    assert found.type == expected.type
    assert {name: module.rank for name, module in found.modules.items()} == {
        name: module.rank for name, module in expected.modules.items()
    }
    assert {name: np.float32(module.scale) for name, module in found.modules.items()} == {
        name: np.float32(module.scale) for name, module in expected.modules.items()
    }
    left, right = arrays(found), arrays(expected)
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[key], right[key]) and left[key].shape == right[key].shape for key in left)
    if expected.sha256:
        assert found.sha256 == expected.sha256


def write_native(folder, adapter_type="dora-rows", **options):
    """Write the native form, and return the tensors by layer, and the adapter as it is read."""
    layers = make_tensors(adapter_type, **options)
    return layers, read_adapter(save(folder / "native.safetensors", flat(layers), config_of(adapter_type)))
