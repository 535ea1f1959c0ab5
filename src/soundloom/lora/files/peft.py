"""Adapters in the names of PEFT: a folder with `adapter_config.json`, or a file whose metadata holds the same.

Layers have the prefixes `base_model.model.` or `diffusion_model.`, or none, and may lack `model.` of the native names.
The change of a weight is alpha / r * B A, or alpha / sqrt(r) * B A with `use_rslora`. Source: the PEFT library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.errors import shown
from soundloom.lora.files.lowrank import LowRank, group, without_prefix
from soundloom.lora.files.names import native_name
from soundloom.lora.files.parts import Layers, Parts, add, mismatch, reshaped, some
from soundloom.untrusted.json import decode_json

_METADATA_KEY = "lora_adapter_metadata"  # of diffusers
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w.-]+")
_PATTERN = re.compile(r"\^?[\w.\\]+\$?")
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # initializations that also change the base weights


def metadata_config(path: Path, metadata: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return the configuration that diffusers writes to the metadata; None without one. Raises MismatchError."""
    if _METADATA_KEY not in metadata:
        return None
    try:
        found = decode_json(metadata[_METADATA_KEY])
    except ValueError as error:
        raise mismatch(path, f"has {_METADATA_KEY} that is not JSON: {shown(str(error))}") from error
    if not isinstance(found, Mapping):
        raise mismatch(path, f"has {_METADATA_KEY} that is not a JSON object")
    return {key.removeprefix("transformer."): value for key, value in found.items()}


def read_peft(path: Path, tensors: Mapping[str, LazyTensor], config: Mapping[str, Any] | None) -> Parts:
    """Return the contents of a file with names of PEFT or diffusers. Raises MismatchError."""
    from soundloom.lora.files.diffusers import is_diffusers, pack

    layers = {without_prefix(layer): _flat(found) for layer, found in group(path, tensors).items()}
    scales = {layer: _scale(path, config or {}, layer, found) for layer, found in layers.items()}
    if is_diffusers(layers):
        form, (native, own_scales) = "diffusers", pack(path, layers, scales)
    else:
        form, (native, own_scales) = "peft", _rename(path, layers, scales)
    has_alpha = config is not None or all(found.alpha is not None for found in layers.values())
    notices = () if has_alpha else ("it has no configuration: alpha is taken to be the rank",)
    return Parts(path, form, native, _native_config(path, config), {}, own_scales, notices=notices)


def _rename(path: Path, layers: Mapping[str, LowRank], scales: Mapping[str, float]) -> tuple[Layers, dict[str, float]]:
    """Return layers and scales by native names. Raises MismatchError for layers that models do not have."""
    names = {layer: native_name(layer) for layer in layers}
    unknown = [layer for layer, name in names.items() if name is None]
    if unknown:
        raise mismatch(path, f"changes layers that Stable Audio models do not have: {some(unknown)}")
    native: Layers = {}
    for layer, found in layers.items():
        for kind, tensor in found.tensors.items():
            add(native, path, str(names[layer]), kind, tensor)
    return native, {str(names[layer]): scale for layer, scale in scales.items()}


def _flat(found: LowRank) -> LowRank:
    """Return a layer whose norms of rows have one axis. PEFT stores those of convolutions as (1, out, 1)."""
    magnitude = found.tensors.get("magnitude")
    if magnitude is None:
        return found
    return replace(found, tensors={**found.tensors, "magnitude": reshaped(magnitude, (math.prod(magnitude.shape),))})


def _scale(path: Path, config: Mapping[str, Any], layer: str, found: LowRank) -> float:
    alpha = found.alpha
    if alpha is None:
        alpha = _alpha_of(path, config, layer)
    if alpha is None:
        return 1.0
    return alpha / math.sqrt(found.rank) if config.get("use_rslora") is True else alpha / found.rank


def _alpha_of(path: Path, config: Mapping[str, Any], layer: str) -> float | None:
    """Return alpha of a layer: that of the pattern which its name ends with, or `lora_alpha`."""
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, Mapping):
        raise mismatch(path, f"has an alpha_pattern that is not an object: {shown(patterns)}")
    for pattern, alpha in patterns.items():
        if not _PATTERN.fullmatch(pattern):
            raise mismatch(path, f"has the alpha_pattern {shown(pattern)}; only names of layers are supported")
        name = pattern.strip("^$").replace("\\", "")
        whole = layer in (name, f"model.{name}")
        if whole or (not pattern.startswith("^") and layer.endswith(f".{name}")):
            return _number(path, "alpha_pattern", alpha)
    alpha = config.get("lora_alpha")
    return None if alpha is None else _number(path, "lora_alpha", alpha)


def _number(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e6:
        raise mismatch(path, f"has a configuration whose {name} is {shown(value)}, not a number")
    return float(value)


def _native_config(path: Path, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the `lora_config` that says the same. Raises MismatchError for methods other than LoRA."""
    if config is None:
        return {}
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise mismatch(path, f"is an adapter of the method {shown(kind)}; only LORA can be read")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        hint = "save it with path_initial_model_for_weight_conversion of PEFT"
        raise mismatch(path, f"was initialized by {shown(start)}, which also changes weights of the base model", hint)
    native = {"adapter_type": "dora-rows" if config.get("use_dora") else "lora", "rank": config.get("r")}
    dropout, base = config.get("lora_dropout"), config.get("base_model_name_or_path")
    more: dict[str, Any] = {"dropout": dropout} if isinstance(dropout, int | float) else {}
    if isinstance(base, str) and _HUB_ID.fullmatch(base):  # not a path on the machine of its author
        more["base_model"] = base
    return {**native, **more}
