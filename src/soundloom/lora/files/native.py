"""The native form: keys `LAYER.parametrizations.weight.0.KIND`, and `lora_config` in the metadata of safetensors.

First files of the MLX trainer, and some conversions, lack the leading `model.` of layers of the transformer. Training
checkpoints hold the same keys among all weights of the model, under the prefixes of a training program such as
`diffusion.model.` and `diffusion.conditioner.`; a second copy under a prefix with `ema` is the moving average.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.errors import RequestError, shown
from soundloom.lora.files.names import OWN_PREFIXES, split_key, split_prefix
from soundloom.lora.files.parts import Layers, add, mismatch, some

_MARK = ".parametrizations.weight."
_ORIGINAL = f"{_MARK}original"  # ends the key of a weight that an adapter changes
_OTHER_MODELS = "it may be of another model; adapters of Stable Audio 3 name layers such as model.transformer.layers.0"


def is_native(tensors: Mapping[str, LazyTensor]) -> bool:
    return any(_MARK in key for key in tensors)


def is_wrapped(tensors: Mapping[str, LazyTensor]) -> bool:
    """Whether keys have the prefixes of a training program, or lie among the weights of a model."""
    if any(key.endswith(_ORIGINAL) for key in tensors):
        return True
    layers = (found[0] for key in tensors if (found := split_key(key)))
    return any((split := split_prefix(layer)) and split[0] not in OWN_PREFIXES for layer in layers)


def native_layers(path: Path, tensors: Mapping[str, LazyTensor]) -> Layers:
    """Group the tensors of an adapter by layer. Raises MismatchError for a key that is not native."""
    others = [key for key in tensors if split_key(key) is None]
    if others:
        raise mismatch(path, f"holds {len(others)} tensors that are not of an adapter: {some(others)}", "remove them")
    layers: Layers = {}
    for _, layer, kind, tensor in _split(path, tensors):
        add(layers, path, layer, kind, tensor)
    return layers


def wrapped_layers(path: Path, tensors: Mapping[str, LazyTensor], ema: bool) -> tuple[Layers, tuple[str, ...]]:
    """Return the adapter among other weights, and notices. Raises MismatchError, or RequestError without an average."""
    plain: Layers = {}
    averaged: Layers = {}
    for prefix, layer, kind, tensor in _split(path, tensors):
        is_average = any("ema" in part.split("_") for part in prefix.split("."))
        add(averaged if is_average else plain, path, layer, kind, tensor)
    if ema and not averaged:
        raise RequestError(f"{path} holds no moving average of its adapter", "read it without ema")
    others = sum(split_key(key) is None for key in tensors)
    notices = [f"{others} other tensors of the training checkpoint were left out"] if others else []
    if ema:
        return {**plain, **averaged}, (*notices, "its moving average was read")
    if averaged:
        notices.append("it also holds a moving average: read that with --ema, or ema=True")
    return {**averaged, **plain}, tuple(notices)


def _split(path: Path, tensors: Mapping[str, LazyTensor]) -> Iterator[tuple[str, str, str, LazyTensor]]:
    """Yield prefix, layer, kind and tensor for each native key. Raises MismatchError for unknown layers."""
    split = {key: found for key in tensors if (found := split_key(key))}
    unknown = dict.fromkeys(layer for layer, _, _ in split.values() if split_prefix(layer) is None)
    if unknown:
        raise mismatch(path, f"changes layers that Stable Audio models do not have: {some(unknown)}", _OTHER_MODELS)
    for key, (layer, index, kind) in split.items():
        if index:
            raise mismatch(path, f"holds several adapters: {shown(key)} is of number {index}", "save each alone")
        prefix, name = split_prefix(layer) or ("", layer)
        yield prefix, name, kind, tensors[key]
