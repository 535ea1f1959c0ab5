"""Build adapters from arrays, with a configuration that keeps what their sources agree on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, from_array
from soundloom.lora.adapter import Adapter, AdapterType, ModuleAdapter
from soundloom.lora.guardrails import canonical_model

PROVENANCE = "provenance"  # key of the metadata that says how an adapter was made
_ABOUT_THE_BASE = ("base_model", "base_signature")
_LISTS = ("include", "exclude")


def build_module(name: str, adapter_type: AdapterType, scale: float, arrays: Mapping[str, Array]) -> ModuleAdapter:
    """Return the part of an adapter that changes one layer, from its tensors by kind."""
    rank = arrays["lora_A"].shape[0] if "lora_A" in arrays else arrays["M_xs"].shape[0]
    tensors = {kind: from_array(kind, np.ascontiguousarray(array)) for kind, array in arrays.items()}
    return ModuleAdapter(name, adapter_type, rank, scale, tensors)


def build_adapter(
    name: str,
    adapter_type: AdapterType,
    modules: Mapping[str, ModuleAdapter],
    sources: Sequence[Adapter],
    provenance: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
) -> Adapter:
    """Return an adapter whose alpha is its rank. Its configuration has `config` and what all `sources` agree on."""
    rank = max((module.rank for module in modules.values()), default=1)
    known = {"rank": rank, "alpha": float(rank), "adapter_type": adapter_type, "dropout": 0.0}
    lists = {key: _common(sources, key) for key in _LISTS}
    agreed = {key: value for key in _ABOUT_THE_BASE if (value := _common(sources, key)) is not None}
    words = [source.hints.get("trigger", source.config.get("trigger")) for source in sources]
    triggers = dict.fromkeys(str(word) for word in words if word)
    trigger = {"trigger": ", ".join(triggers)} if triggers else {}
    return Adapter(
        name,
        adapter_type,
        rank,
        float(rank),
        dict(modules),
        {**known, **lists, **agreed, **trigger, **(config or {})},
        {PROVENANCE: json.dumps(provenance)},
    )


def _common(sources: Sequence[Adapter], key: str) -> Any:
    """Return the value of a key of the configuration, if all sources have the same, else None."""
    values = [source.config.get(key) for source in sources]
    if key == "base_model" and len({canonical_model(value) for value in values} - {None}) == 1:
        return values[0] if len(set(values)) == 1 else canonical_model(values[0])
    return values[0] if values and all(value == values[0] for value in values) else None


def described(adapter: Adapter) -> dict[str, Any]:
    """Return what identifies an adapter, for records of provenance."""
    return {"name": adapter.name, "type": adapter.type, "sha256": adapter.sha256}


def same_file(adapter: Adapter, adapter_type: AdapterType, modules: Mapping[str, ModuleAdapter]) -> Adapter:
    """Return an adapter with other modules that keeps configuration and metadata; `rank` follows the modules."""
    rank = max((module.rank for module in modules.values()), default=adapter.rank)
    scale = adapter.alpha / adapter.rank
    config = {**adapter.config, "rank": rank, "alpha": scale * rank, "adapter_type": adapter_type}
    return replace(
        adapter, type=adapter_type, rank=rank, alpha=scale * rank, modules=dict(modules), config=config, sha256=""
    )
