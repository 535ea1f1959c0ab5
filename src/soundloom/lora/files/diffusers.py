"""Names of layers in diffusers, whose port of Stable Audio 3 renames layers and reorders packed projections.

With differential attention, rows of `self_attn.to_qkv` are q, q', k, k', v there, and q, k, v, q', k' in checkpoints.
An adapter of separate projections becomes one of the packed weight: the rows of A follow each other, and B is block
diagonal. Source: the conversion script of diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor, from_array
from soundloom.errors import shown
from soundloom.lora.files.lowrank import LowRank
from soundloom.lora.files.names import native_name
from soundloom.lora.files.parts import Layers, add, mismatch, some
from soundloom.lora.modules import SECONDS

_MARKS = ("transformer_blocks.", "proj_in", "proj_out", "duration_embedder.")
_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)")
_TOP = {"proj_in": "project_in", "proj_out": "project_out"}
_IN_BLOCK = {"ff.proj_in": "ff.ff.0.proj", "ff.proj_out": "ff.ff.2"}
_PART = re.compile(r"(?P<attention>.+\.(?P<kind>self_attn|cross_attn))\.to_(?P<part>q2|k2|q|k|v)")
# Packed projections and their parts in the order of checkpoints; the last two belong to differential attention.
_ORDERS: dict[tuple[str, bool], dict[str, tuple[str, ...]]] = {
    ("self_attn", False): {"to_qkv": ("q", "k", "v")},
    ("self_attn", True): {"to_qkv": ("q", "k", "v", "q2", "k2")},
    ("cross_attn", False): {"to_q": ("q",), "to_kv": ("k", "v")},
    ("cross_attn", True): {"to_q": ("q", "q2"), "to_kv": ("k", "k2", "v")},
}
_CHECKPOINT_ORDER = (0, 2, 4, 1, 3)  # of q, q', k, k', v


def is_diffusers(layers: Iterable[str]) -> bool:
    return any(layer.removeprefix("transformer.").startswith(_MARKS) for layer in layers)


def pack(path: Path, layers: Mapping[str, LowRank], scales: Mapping[str, float]) -> tuple[Layers, dict[str, float]]:
    """Return layers and scales by native names. Raises MismatchError."""
    names = {layer: _native(layer) for layer in layers}
    unknown = [layer for layer, name in names.items() if name is None]
    if unknown:
        raise mismatch(path, f"changes layers that Stable Audio models of diffusers do not have: {some(unknown)}")
    differential = any(layer.endswith((".to_q2", ".to_k2")) for layer in layers)
    native: Layers = {}
    native_scales: dict[str, float] = {}
    split: dict[str, list[_Part]] = {}
    for layer, found in layers.items():
        name = str(names[layer])
        packed = _packed(name, differential)
        if packed is not None:
            split.setdefault(packed[0], []).append(_Part(layer, *packed[1:], found, scales[layer]))
            continue
        native_scales[name] = scales[layer]
        for kind, tensor in found.tensors.items():
            add(native, path, name, kind, _in_order(name, kind, tensor, found))
    for name, parts in split.items():
        native_scales[name] = parts[0].scale
        for kind, array in _join(path, name, parts).items():
            add(native, path, name, kind, from_array(kind, array))
    return native, native_scales


@dataclass(frozen=True)
class _Part:
    """One of `count` projections of a packed weight, at `place`."""

    layer: str
    place: int
    count: int
    found: LowRank
    scale: float


def _native(layer: str) -> str | None:
    """Return the native name of a layer, except that separate projections keep their ends."""
    name = layer.removeprefix("transformer.")
    if name == "duration_embedder.linear":
        return SECONDS
    if match := _BLOCK.fullmatch(name):
        return f"model.transformer.layers.{match[1]}.{_IN_BLOCK.get(match[2], match[2])}"
    if name.startswith("global_cond_embedder."):
        return f"model.transformer.{name}"
    return f"model.transformer.{_TOP[name]}" if name in _TOP else native_name(name)


def _packed(name: str, differential: bool) -> tuple[str, int, int] | None:
    """Return name, place and count of the packed projection that a layer is part of; None if it is whole."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    for packed, order in _ORDERS[match["kind"], differential].items():
        if match["part"] in order and len(order) > 1:
            return f"{match['attention']}.{packed}", order.index(match["part"]), len(order)
    return None


def _in_order(name: str, kind: str, tensor: LazyTensor, found: LowRank) -> LazyTensor:
    """Return lora_B or norms of rows with the rows of a packed differential projection in the order of checkpoints."""
    rows, width = tensor.shape[0], found.tensors["lora_A"].shape[-1] if "lora_A" in found.tensors else 0
    if kind == "lora_A" or not name.endswith(".to_qkv") or rows != len(_CHECKPOINT_ORDER) * width:
        return tensor
    return tensor.derive(tensor.shape, lambda array: _permuted(array, rows // len(_CHECKPOINT_ORDER)))


def _permuted(array: Array, width: int) -> Array:
    blocks = array.reshape(len(_CHECKPOINT_ORDER), width, *array.shape[1:])
    return blocks[list(_CHECKPOINT_ORDER)].reshape(array.shape)


def _join(path: Path, name: str, parts: list[_Part]) -> dict[str, Array]:
    """Return the packed tensors of separate projections. Those that are missing stay unchanged."""
    kinds = {frozenset(part.found.tensors) for part in parts}
    rows = {part.found.tensors["lora_B"].shape[0] for part in parts if "lora_B" in part.found.tensors}
    if len(kinds) != 1 or not {"lora_A", "lora_B"} <= min(kinds, key=len) or len(rows) != 1:
        layers = some(part.layer for part in parts)
        raise mismatch(path, f"has parts of {shown(name)} that do not belong together: {layers}")
    downs = [part.found.tensors["lora_A"].numpy() for part in parts]
    ups = [part.found.tensors["lora_B"].numpy() for part in parts]
    height = min(rows)
    up = np.zeros((height * parts[0].count, sum(each.shape[1] for each in ups)), np.result_type(*ups))
    column = 0
    for part, each in zip(parts, ups, strict=True):
        ratio = part.scale / parts[0].scale if parts[0].scale else 1.0
        block = each if ratio == 1 else each.astype(np.float32) * np.float32(ratio)
        up = up.astype(np.result_type(up, block), copy=False)
        up[part.place * height : (part.place + 1) * height, column : column + each.shape[1]] = block
        column += each.shape[1]
    joined = {"lora_A": np.concatenate(downs), "lora_B": up}
    if "magnitude" not in min(kinds, key=len):
        return joined
    if len(parts) != parts[0].count:
        raise mismatch(path, f"sets norms of only some parts of {shown(name)}: {some(part.layer for part in parts)}")
    ordered = sorted(parts, key=lambda part: part.place)
    return {**joined, "magnitude": np.concatenate([part.found.tensors["magnitude"].numpy() for part in ordered])}
