"""Combine several adapters at given strengths into one.

For types without magnitudes this is exact: the factors are stacked, and strengths and scales multiply B. Otherwise the
adapted weights are formed, and an adapter is extracted from them, which the residuals measure. As in a stack, only the
first adapter changes how the duration is embedded, unless `seconds` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.config.stable_audio.adapters import Combine, Mode, Seconds
from soundloom.errors import MismatchError, RequestError
from soundloom.lora.adapter import Adapter, ModuleAdapter
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.modules import SECONDS
from soundloom.lora.operations.build import build_adapter, build_module, described
from soundloom.lora.operations.convert import to_lora
from soundloom.lora.operations.extract import Extracted, Residual, collect, extract_layer
from soundloom.lora.operations.weights import reading
from soundloom.lora.parallel import map_parallel

_PLAIN = ("lora", "lora-xs")


def is_exact(adapters: Sequence[Adapter]) -> bool:
    """Whether combining needs no base weights."""
    return all(adapter.type in _PLAIN for adapter in adapters)


def combine_exactly(
    adapters: Sequence[Adapter], strengths: Sequence[float], name: str = "combined", *, seconds: Seconds = "first"
) -> Adapter:
    """Return one adapter of type lora that equals several without magnitudes, whose ranks add up."""
    _require_pairs(adapters, strengths)
    if not is_exact(adapters):
        types = ", ".join(sorted({adapter.type for adapter in adapters} - set(_PLAIN)))
        raise RequestError(f"adapters of type {types} can only be combined for given weights")
    plain = [to_lora(adapter) for adapter in adapters]
    modules = {}
    for layer, parts in _parts(plain, strengths, seconds).items():
        down = np.concatenate([module.array("lora_A") for module, _ in parts])
        up = np.concatenate([np.float32(s * module.scale) * module.array("lora_B") for module, s in parts], axis=1)
        modules[layer] = build_module(layer, "lora", 1.0, {"lora_A": down, "lora_B": up})
    return build_adapter(name, "lora", modules, adapters, _provenance(adapters, strengths))


def combine_for(
    weights: Mapping[str, LazyTensor],
    adapters: Sequence[Adapter],
    strengths: Sequence[float],
    name: str = "combined",
    *,
    rank: int | None = None,
    mode: Mode = "fade",
    combine: Combine = "chain",
    seconds: Seconds = "first",
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[Adapter, list[Residual]]:
    """Return an adapter of type dora-rows that does to `weights` what several do, and what it misses.

    `rank` is by default the sum of all ranks. The -xs types need U and V: see `bases.with_bases`.
    """
    _require_pairs(adapters, strengths)
    owners = _parts(adapters, strengths, seconds)
    for layer in owners:
        if layer not in weights:
            raise MismatchError(f"the model has no layer {layer}, which an adapter changes")

    def combine_layer(layer: str) -> Extracted:
        progress(layer)
        parts = [AdapterPart(module, strength, mode) for module, strength in owners[layer]]
        total = rank or sum(module.rank for module, _ in owners[layer])
        with reading(weights[layer]) as before:
            return extract_layer(layer, before, adapted_weight(before, parts, combine), total, "dora-rows")

    modules, residuals = collect(map_parallel(combine_layer, owners))
    if not modules:
        raise RequestError("at these strengths the adapters change nothing", "give strengths other than 0")
    return build_adapter(name, "dora-rows", modules, adapters, _provenance(adapters, strengths)), residuals


def _require_pairs(adapters: Sequence[Adapter], strengths: Sequence[float]) -> None:
    if len(adapters) < 2:
        raise RequestError("combining needs at least two adapters", "give two files")
    if len(adapters) != len(strengths):
        raise RequestError(f"{len(adapters)} adapters need as many strengths, found {len(strengths)}")
    if not all(np.isfinite(strength) for strength in strengths):
        raise RequestError("strengths must be finite numbers")


def _parts(
    adapters: Sequence[Adapter], strengths: Sequence[float], seconds: Seconds
) -> dict[str, list[tuple[ModuleAdapter, float]]]:
    """Return the adapters of each layer with their strengths, in the order in which they act."""
    parts: dict[str, list[tuple[ModuleAdapter, float]]] = {}
    for adapter, strength in zip(adapters, strengths, strict=True):
        for layer, module in adapter.modules.items():
            if layer == SECONDS and (seconds == "none" or (seconds == "first" and layer in parts)):
                continue
            parts.setdefault(layer, []).append((module, strength))
    return parts


def _provenance(adapters: Sequence[Adapter], strengths: Sequence[float]) -> dict[str, object]:
    used = [{**described(one), "strength": s} for one, s in zip(adapters, strengths, strict=True)]
    return {"command": "combine", "adapters": used}
