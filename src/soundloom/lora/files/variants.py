"""Decide the type of an adapter from its kinds of tensors, the lengths of its magnitudes, and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from soundloom.errors import shown
from soundloom.lora.adapter import AdapterType
from soundloom.lora.files.configuration import OLD_DORA, Configuration
from soundloom.lora.files.identity import BAKED
from soundloom.lora.files.layers import Layer, Variant
from soundloom.lora.files.parts import Parts, mismatch

_SAY_TYPE = "state adapter_type, rank and alpha in a JSON file of the same name beside it"


def decide_type(
    parts: Parts, config: Configuration, layers: Mapping[str, Layer]
) -> tuple[AdapterType, tuple[str, ...]]:
    """Return the type of all layers, and notices. Raises MismatchError where tensors and configuration disagree."""
    first = next(iter(layers.values()))
    family = first.family
    for layer in layers.values():
        if layer.family != family:
            raise mismatch(
                parts.path,
                f"mixes types: {shown(first.name)} has the tensors of {family}, {shown(layer.name)} of {layer.family}",
                "split it into one file per type",
            )
    wanted = config.type
    if wanted is not None and _family(wanted) != _family(family, wanted):
        raise mismatch(parts.path, f"says that its type is {wanted}, but its tensors are those of {family}")
    if not family.startswith("dora"):
        return cast(AdapterType, family), ()
    variant, notices = _variant(parts, wanted, layers)
    baked = next((layer.name for layer in layers.values() if BAKED in layer.tensors), None)
    if baked and variant == "cols":
        raise mismatch(parts.path, f"has baked norms of rows for {shown(baked)}, but magnitudes of columns")

    return cast(AdapterType, family.replace("dora", f"dora-{variant}")), notices


def _family(name: str, wanted: str = "") -> str:
    """Return a type without its variant. Old files of either family say `dora` for all."""
    family = name.replace("-rows", "").replace("-cols", "")
    return OLD_DORA if wanted == OLD_DORA and family.startswith("dora") else family


def _variant(parts: Parts, wanted: str | None, layers: Mapping[str, Layer]) -> tuple[Variant, tuple[str, ...]]:
    """Return whether magnitudes are norms of rows or of columns: layers that are not square, and old shapes, tell."""
    said: Variant | None = None if wanted in (None, OLD_DORA) else "cols" if "-cols" in str(wanted) else "rows"
    seen: dict[Variant, Layer] = {}
    for layer in layers.values():
        for variant in _seen(parts, layer):
            seen.setdefault(variant, layer)
    if len(seen) > 1:
        raise mismatch(
            parts.path,
            f"has norms of rows for {shown(seen['rows'].name)} and norms of columns for {shown(seen['cols'].name)}",
        )
    found = next(iter(seen), None)
    if said and found and said != found:
        raise mismatch(
            parts.path,
            f"says that its type is {wanted}, but {shown(seen[found].name)} has magnitudes of {found}",
        )
    if said or found:
        return said or cast(Variant, found), ()
    if wanted == OLD_DORA:
        return "rows", ("its type is the old `dora`, and no layer tells rows from columns: rows are assumed",)
    raise mismatch(parts.path, "has no layer that tells norms of rows from norms of columns", _SAY_TYPE)


def _seen(parts: Parts, layer: Layer) -> set[Variant]:
    """Return what a layer tells: nothing if it is square."""
    length = layer.tensors["magnitude"].shape[0]
    told: set[Variant] = {layer.variant} if layer.variant else set()
    if layer.outputs is None or layer.inputs is None:
        return told
    if length not in (layer.outputs, layer.inputs):
        raise mismatch(
            parts.path,
            f"has a magnitude of {length} values for {shown(layer.name)}, "
            f"which has {layer.outputs} rows and {layer.inputs} columns",
        )
    if layer.outputs != layer.inputs:
        told.add("rows" if length == layer.outputs else "cols")
    return told
