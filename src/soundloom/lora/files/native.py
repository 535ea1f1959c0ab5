"""The native form: safetensors with keys `LAYER.parametrizations.weight.0.KIND` and `lora_config` in the metadata.

First files of the MLX trainer, and some conversions, lack the leading `model.` of layers of the transformer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.errors import shown
from soundloom.lora.files.beside import config_beside
from soundloom.lora.files.configuration import decode_config
from soundloom.lora.files.names import native_name, split_key
from soundloom.lora.files.parts import Layers, Parts, add, mismatch, some

CONFIG_KEY = "lora_config"
_OTHER_MODELS = "it may be of another model; adapters of Stable Audio 3 name layers such as model.transformer.layers.0"


def is_native(keys: Mapping[str, LazyTensor]) -> bool:
    return any(".parametrizations.weight." in key for key in keys)


def read_native(path: Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str]) -> Parts:
    """Return the contents of a native safetensors file. Raises MismatchError."""
    config = decode_config(path, metadata[CONFIG_KEY]) if CONFIG_KEY in metadata else config_beside(path)
    others = {key: value for key, value in metadata.items() if key != CONFIG_KEY}
    return Parts(path, "native", native_layers(path, tensors), config, others)


def native_layers(path: Path, tensors: Mapping[str, LazyTensor]) -> Layers:
    """Group tensors with native keys by layer. Raises MismatchError for any other key."""
    layers: Layers = {}
    split = {key: split_key(key) for key in tensors}
    others = [key for key, found in split.items() if found is None]
    if others:
        raise mismatch(path, f"holds {len(others)} tensors that are not of an adapter: {some(others)}", "remove them")
    unknown = []
    for key, found in split.items():
        assert found is not None  # `others` is empty
        layer, index, kind = found
        name = native_name(layer)
        if index:
            raise mismatch(path, f"holds several adapters: {shown(key)} is of number {index}", "save each alone")
        if name is None:
            unknown.append(layer)
        else:
            add(layers, path, name, kind, tensors[key])
    if unknown:
        raise mismatch(
            path, f"changes layers that Stable Audio models do not have: {some(dict.fromkeys(unknown))}", _OTHER_MODELS
        )
    return layers
