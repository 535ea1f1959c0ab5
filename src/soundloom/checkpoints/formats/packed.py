"""Weights that stay packed: codes of 4 or 8 bits, with a scale and a bias for each group of inputs.

A file holds such a weight as three tensors, `X.weight` (uint32), `X.scales` and `X.biases`, not to be mixed up with
the layer's own `X.bias`. Here the three are one tensor under the weight's name, of the weight's shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from soundloom.checkpoints.formats.affine import BITS, GROUP_SIZES, WORD_BITS, Quantized, dequantize, quantize
from soundloom.checkpoints.formats.tensors import LazyTensor, Tensors, is_float
from soundloom.errors import MismatchError, RequestError, shown

DAMAGED = "the file is damaged, or not of the bits and groups that it claims; fetch or convert it again"
_PARTS = ("weight", "scales", "biases")

# A layer and the vector beside it that is as long as the layer's inputs are many.
_WIDTHS = (
    ("self_attn.to_qkv", "pre_norm.weight"),
    ("attn.to_qkv", "pre_norm.gamma"),
    ("self_attn.q_proj", "pre_self_attn_layernorm.weight"),
)


@dataclass(frozen=True, kw_only=True)
class PackedTensor(LazyTensor):
    """A weight (out, in) in codes. `shape` and `dtype` are those of the weight; `numpy` computes it."""

    packed: LazyTensor
    scales: LazyTensor
    biases: LazyTensor
    bits: int
    group_size: int

    @property
    def parts(self) -> tuple[LazyTensor, ...]:
        base = self.name.removesuffix("weight")
        stored = (self.packed, self.scales, self.biases)
        return tuple(tensor.renamed(base + part) for part, tensor in zip(_PARTS, stored, strict=True))


def join_packed(
    name: str, packed: LazyTensor, scales: LazyTensor, biases: LazyTensor, bits: int, group_size: int
) -> PackedTensor:
    """The weight that three tensors stand for."""

    def read() -> Quantized:
        return Quantized(packed.numpy(), scales.numpy(), biases.numpy())

    rows, groups = scales.shape
    return PackedTensor(
        name,
        scales.dtype,
        (rows, groups * group_size),
        lambda: dequantize(read(), bits, group_size),
        stored=False,
        packed=packed,
        scales=scales,
        biases=biases,
        bits=bits,
        group_size=group_size,
    )


def pack_tensor(tensor: LazyTensor, bits: int, group_size: int) -> PackedTensor:
    """Quantize a weight (out, in), rounded to half precision, when it is first read; the result stays in memory."""
    return from_quantized(
        tensor, cache(lambda: quantize(tensor.numpy().astype(np.float16), bits, group_size)), bits, group_size
    )


def from_quantized(tensor: LazyTensor, codes: Callable[[], Quantized], bits: int, group_size: int) -> PackedTensor:
    """A weight (out, in) as what it was quantized into, with scales in half precision."""
    rows, inputs = tensor.shape
    groups = inputs // group_size
    packed = LazyTensor("", "U32", (rows, inputs * bits // WORD_BITS), lambda: codes().packed, stored=False)
    scales = LazyTensor("", "F16", (rows, groups), lambda: codes().scales, stored=False)
    biases = LazyTensor("", "F16", (rows, groups), lambda: codes().biases, stored=False)
    return join_packed(tensor.name, packed, scales, biases, bits, group_size)


def split(tensors: Iterable[LazyTensor]) -> list[LazyTensor]:
    """The tensors that a file holds for these."""
    return [part for tensor in tensors for part in tensor.parts]


def bytes_of(tensors: Iterable[LazyTensor]) -> int:
    """What tensors take in a file."""
    return sum(part.nbytes for part in split(tensors))


def bytes_loaded(
    tensors: Mapping[str, LazyTensor],
    width: int,
    keep: Collection[str] = (),
    layers: Collection[str] = (),
    others: Mapping[str, int] | None = None,
) -> int:
    """What tensors take in memory as values of `width` bytes, or of another width for names in `others`.

    Those named in `keep`, and packed or half-precision ones among the weights named in `layers`, stay as stored.
    """
    widths = others or {}

    def loaded(name: str, tensor: LazyTensor) -> int:
        if name in keep or (name in layers and stays_stored(tensor)):
            return bytes_of([tensor])
        return math.prod(tensor.shape) * widths.get(name, width)

    return sum(loaded(name, tensor) for name, tensor in tensors.items())


def stays_stored(weight: LazyTensor) -> bool:
    """Whether a layer that keeps its weight as stored gains anything by that."""
    return isinstance(weight, PackedTensor) or weight.dtype in ("F16", "BF16")


def join_triplets(tensors: Mapping[str, LazyTensor], what: str, group_size: int | None = None) -> Tensors:
    """Join the three tensors of each packed weight and keep all others; `what` names the file in messages.

    `group` is what a manifest says; without one it is told by the shapes. Raises MismatchError where the three are
    not complete, or do not fit each other, 4 or 8 bits, or groups of 32, 64 or 128.
    """
    bases = _packed_layers(tensors)
    if not bases:
        return dict(tensors)
    _require_triplets(tensors, bases, what)
    group_size = _require_group_size(group_size or _infer_group_size(tensors, bases, what), what)
    joined: Tensors = {}
    for name, tensor in tensors.items():
        base, _, part = name.rpartition(".")
        if base not in bases or part == "bias":
            joined[name] = tensor
        elif part == "weight":
            joined[name] = _join_layer(tensors, base, group_size, what)
    return joined


def _packed_layers(tensors: Mapping[str, LazyTensor]) -> set[str]:
    """Layers of which any sign of packing is there."""
    return {
        base
        for base, _, part in (name.rpartition(".") for name in tensors)
        if part in ("scales", "biases") or (part == "weight" and tensors[f"{base}.weight"].dtype == "U32")
    }


def _require_triplets(tensors: Mapping[str, LazyTensor], bases: set[str], what: str) -> None:
    for base in sorted(bases):
        missing = [part for part in _PARTS if f"{base}.{part}" not in tensors]
        if missing:
            raise MismatchError(
                f"{what} packs {base} without its {' and '.join(missing)}",
                "a packed layer has .weight, .scales and .biases; fetch or convert the file again",
            )
        packed, scales, biases = (tensors[f"{base}.{part}"] for part in _PARTS)
        if packed.dtype != "U32":
            raise MismatchError(
                f"{what} mixes layouts: {base} has scales, but its weight is {packed.dtype}, not packed as U32",
                "convert the model again from its unpacked files",
            )
        if not is_float(scales) or scales.dtype != biases.dtype:
            raise MismatchError(
                f"{what}: the scales of {base} are {scales.dtype}, its biases {biases.dtype}; they must be of one "
                "floating-point type",
                DAMAGED,
            )
        is_matrix = len(packed.shape) == len(scales.shape) == 2
        if not is_matrix or scales.shape != biases.shape or packed.shape[0] != scales.shape[0]:
            shapes = ", ".join(f"{part} {list(tensors[f'{base}.{part}'].shape)}" for part in _PARTS)
            raise MismatchError(f"{what}: the tensors of {base} do not fit each other: {shapes}", DAMAGED)


def _infer_group_size(tensors: Mapping[str, LazyTensor], bases: set[str], what: str) -> int:
    """The group size, from a layer whose number of inputs something beside it tells."""
    for base in sorted(bases):
        for layer, vector in _WIDTHS:
            beside = tensors.get(base.removesuffix(layer) + vector)
            if base.endswith(layer) and beside is not None and beside.shape:
                inputs, groups = beside.shape[0], tensors[f"{base}.scales"].shape[1]
                if not groups or inputs % groups:
                    fault = f"{inputs} inputs of {base} do not divide into {groups} groups"
                    raise MismatchError(f"{what}: {fault}", DAMAGED)
                return inputs // groups
    raise MismatchError(
        f"{what} does not say how large its groups are",
        'put a manifest.json beside it, such as {"group_size": 64}',
    )


def _require_group_size(group_size: int, what: str) -> int:
    if group_size not in GROUP_SIZES:
        raise MismatchError(f"{what} has groups of {shown(group_size)}", f"use {', '.join(map(str, GROUP_SIZES))}")
    return group_size


def _join_layer(tensors: Mapping[str, LazyTensor], base: str, group_size: int, what: str) -> PackedTensor:
    packed, scales, biases = (tensors[f"{base}.{part}"] for part in _PARTS)
    inputs, stored_bits = scales.shape[1] * group_size, packed.shape[1] * WORD_BITS
    if not inputs or stored_bits % inputs or stored_bits // inputs not in BITS:
        raise MismatchError(
            f"{what}: {packed.shape[1]} words in a row of {base} do not divide into codes of 4 or 8 bits for "
            f"{inputs} inputs ({scales.shape[1]} groups of {group_size})",
            DAMAGED,
        )
    return join_packed(f"{base}.weight", packed, scales, biases, stored_bits // inputs, group_size)


def require_unpacked(name: str, layout: str, tensors: Mapping[str, object]) -> None:
    """Raise RequestError if weights of the checkpoint `name` are packed already."""
    if any(isinstance(tensor, PackedTensor) for tensor in tensors.values()):
        raise RequestError(f"{name} is packed already, as {layout}", "take what it was made from")
