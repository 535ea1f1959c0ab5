"""Adapters in the names of kohya and ComfyUI: `lora_unet_` and a layer's name with underscores for dots.

Each layer has its own alpha. Underscores are ambiguous, so names are looked up among those of all published models.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.lora.files.lowrank import group, without_prefix
from soundloom.lora.files.names import native_name
from soundloom.lora.files.parts import Layers, Parts, add, mismatch, some

_PREFIXES = ("lora_unet_", "lora_transformer_", "lora_dit_", "lora_te_", "lora_")


def read_kohya(path: Path, tensors: Mapping[str, LazyTensor]) -> Parts:
    """Return the contents of a file with keys that end with lora_up and lora_down. Raises MismatchError."""
    layers = group(path, tensors)
    names = {layer: _native(layer) for layer in layers}
    unknown = [layer for layer, name in names.items() if name is None]
    if unknown:
        raise mismatch(path, f"changes layers that Stable Audio models do not have: {some(unknown)}")
    native: Layers = {}
    for layer, found in layers.items():
        for kind, tensor in found.tensors.items():
            add(native, path, str(names[layer]), kind, tensor)
    scales = {
        str(names[layer]): 1.0 if found.alpha is None else found.alpha / found.rank for layer, found in layers.items()
    }
    without = sum(found.alpha is None for found in layers.values())
    notices = (f"{without} of its layers have no alpha: it is taken to be the rank",) if without else ()
    return Parts(path, "kohya", native, {}, {}, scales, notices=notices)


def _native(layer: str) -> str | None:
    """Return the native name of a layer; None for unknown ones."""
    if "." in layer:
        return native_name(without_prefix(layer))
    for prefix in _PREFIXES:
        if layer.startswith(prefix) and (found := _table().get(layer.removeprefix(prefix))):
            return found
    return None


@cache
def _table() -> dict[str, str]:
    """Return the native names of layers of all published models by their names with underscores."""
    from soundloom.config.catalogue import CATALOGUE
    from soundloom.config.stable_audio.model import ModelConfig
    from soundloom.lora.modules import CONDITIONER, TRANSFORMER, module_shapes

    names: set[str] = set()
    for entry in CATALOGUE.values():
        config = entry.parsed_config() if entry.kind == "generator" else None
        if isinstance(config, ModelConfig):
            names.update(module_shapes(config))
    inner = {name.removeprefix(TRANSFORMER).removeprefix(CONDITIONER): name for name in names}
    return {spelling.replace(".", "_"): name for spelling, name in [*inner.items(), *((name, name) for name in names)]}
