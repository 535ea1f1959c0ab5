"""Check the contents of an adapter file and build the adapter: types, ranks, scales, shapes, dtypes, finite values.

The kinds of tensors decide the family of the type, and the configuration the variant. Where both speak they must agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from soundloom.errors import shown
from soundloom.lora.adapter import Adapter, AdapterType, ModuleAdapter
from soundloom.lora.files.configuration import Configuration, check_config, patterns_of
from soundloom.lora.files.identity import check_values
from soundloom.lora.files.layers import Layer, check_layer
from soundloom.lora.files.parts import Parts, mismatch
from soundloom.lora.files.variants import decide_type

_DTYPES = ("F16", "BF16", "F32")


def assemble(parts: Parts, exclude: Sequence[str] = ()) -> Adapter:
    """Return the adapter that a file holds, without the layers that `exclude` matches.

    Raises MismatchError, and RequestError for patterns that match no layer.
    """
    if not parts.layers:
        raise mismatch(parts.path, "holds no layer of an adapter", "the file may be half-written; save it again")
    config = check_config(parts.path, parts.config)
    names = list(parts.layers)
    kept = _select(names, exclude)
    if not kept:
        raise mismatch(parts.path, f"has no layer outside of those excluded ({', '.join(exclude)})", "exclude fewer")
    layers = {name: check_layer(parts.path, name, parts.layers[name]) for name in kept}
    _check_dtypes(parts, layers)
    adapter_type, notices = decide_type(parts, config, layers)
    modules = {name: _module(parts, config, layer, adapter_type) for name, layer in layers.items()}
    sha256, value_notices = check_values(modules, parts.path)
    rank, alpha = _rank_and_alpha(config, modules)
    return Adapter(
        name=_name(parts),
        type=adapter_type,
        rank=rank,
        alpha=alpha,
        modules=modules,
        config=_complete_config(parts, adapter_type, rank, alpha, exclude),
        metadata=parts.metadata,
        path=parts.path,
        sha256=sha256,
        form=parts.form,
        hints=_hints(parts),
        notices=(*parts.notices, *notices, *_rank_notices(parts, config, modules), *value_notices),
    )


def _select(names: Sequence[str], exclude: Sequence[str]) -> Sequence[str]:
    if not exclude:
        return names
    from soundloom.lora.patterns import require_matches, select

    require_matches(exclude, names, "the excluded pattern")
    return select(names, exclude=exclude)


def _check_dtypes(parts: Parts, layers: Mapping[str, Layer]) -> None:
    for name, layer in layers.items():
        for kind, tensor in layer.tensors.items():
            if tensor.dtype not in _DTYPES:
                raise mismatch(
                    parts.path,
                    f"stores {kind} of {shown(name)} as {tensor.dtype}; adapters are {', '.join(_DTYPES)}",
                    "save it in one of these",
                )


def _module(parts: Parts, config: Configuration, layer: Layer, adapter_type: AdapterType) -> ModuleAdapter:
    scale = parts.scales.get(layer.name)
    if scale is None:
        scale = 1.0 if config.alpha is None else config.alpha / layer.rank
    return ModuleAdapter(layer.name, adapter_type, layer.rank, scale, layer.tensors)


def _rank_and_alpha(config: Configuration, modules: Mapping[str, ModuleAdapter]) -> tuple[int, float]:
    """Return rank and alpha of the configuration, or else those of most layers."""
    (rank, scale), _ = Counter((module.rank, module.scale) for module in modules.values()).most_common(1)[0]
    return config.rank or rank, rank * scale if config.alpha is None else config.alpha


def _rank_notices(parts: Parts, config: Configuration, modules: Mapping[str, ModuleAdapter]) -> list[str]:
    ranks = Counter(module.rank for module in modules.values())
    listed = ", ".join(f"{rank} ({count} layers)" for rank, count in sorted(ranks.items()))
    if parts.config is None:
        return [f"it has no lora_config: its type and rank are those of the tensors, and alpha is {next(iter(ranks))}"]
    if len(ranks) > 1:
        return [f"its layers have different ranks, and each is scaled by alpha / rank: {listed}"]
    if config.rank not in (None, *ranks):
        return [f"its configuration says rank {config.rank}, but its tensors have {listed}, which counts"]
    return []


def _complete_config(
    parts: Parts, adapter_type: AdapterType, rank: int, alpha: float, exclude: Sequence[str]
) -> dict[str, Any]:
    """Return the `lora_config` in modern terms. Unknown keys stay."""
    found = dict(parts.config or {})
    lists = {name: patterns_of(found, name) for name in ("include", "exclude")}
    lists["exclude"] += [pattern for pattern in exclude if pattern not in lists["exclude"]]
    known = {"rank": rank, "alpha": alpha, "adapter_type": adapter_type, "dropout": found.get("dropout", 0.0)}
    return {**known, **{name: texts or None for name, texts in lists.items()}, **_others(found)}


def _others(config: Mapping[str, Any]) -> dict[str, Any]:
    known = ("rank", "alpha", "adapter_type", "dropout", "include", "exclude")
    return {key: value for key, value in config.items() if key not in known}


def _hints(parts: Parts) -> dict[str, Any]:
    """Return what the file and files beside it say about its use."""
    config = parts.config or {}
    own = {key: config[key] for key in ("trigger", "recommended_strength") if config.get(key) is not None}
    return {**parts.hints, **own}


def _name(parts: Parts) -> str:
    return parts.path.name if parts.path.is_dir() else parts.path.stem
