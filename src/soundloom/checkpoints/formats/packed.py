"""Represent weights that are quantized to 4 or 8 bits and stay packed in memory.

A file stores such a weight as three tensors: `X.weight` (uint32), `X.scales` and `X.biases`, which is not the layer's
own `X.bias`. A PackedTensor combines them under the weight's name, with the weight's shape.
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

DAMAGED = "the file is damaged, or its bits or group size are wrong; download or convert it again"
_PARTS = ("weight", "scales", "biases")

# Layers and a norm vector whose length is the number of inputs of the layer.
_WIDTHS = (
    ("self_attn.to_qkv", "pre_norm.weight"),
    ("attn.to_qkv", "pre_norm.gamma"),
    ("self_attn.q_proj", "pre_self_attn_layernorm.weight"),
)


@dataclass(frozen=True, kw_only=True)
class PackedTensor(LazyTensor):
    """A quantized weight (out, in). `shape` and `dtype` describe the weight, which `numpy` dequantizes."""

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
    """Combine three stored tensors into one quantized weight."""

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
    """Quantize a weight (out, in), rounded to half precision, when it is first read, and cache the result."""
    compute = cache(lambda: quantize(tensor.numpy().astype(np.float16), bits, group_size))
    return from_quantized(tensor, compute, bits, group_size)


def from_quantized(tensor: LazyTensor, compute: Callable[[], Quantized], bits: int, group_size: int) -> PackedTensor:
    """Replace a weight (out, in) by its quantized form, which `compute` returns with half-precision scales."""
    rows, inputs = tensor.shape
    groups = inputs // group_size
    packed = LazyTensor("", "U32", (rows, inputs * bits // WORD_BITS), lambda: compute().packed, stored=False)
    scales = LazyTensor("", "F16", (rows, groups), lambda: compute().scales, stored=False)
    biases = LazyTensor("", "F16", (rows, groups), lambda: compute().biases, stored=False)
    return join_packed(tensor.name, packed, scales, biases, bits, group_size)


def stored_parts(tensors: Iterable[LazyTensor]) -> list[LazyTensor]:
    """List the tensors that a file stores for these, three for each packed weight."""
    return [part for tensor in tensors for part in tensor.parts]


def stored_bytes(tensors: Iterable[LazyTensor]) -> int:
    """Return the size of tensors in a file."""
    return sum(part.nbytes for part in stored_parts(tensors))


def loaded_bytes(
    tensors: Mapping[str, LazyTensor],
    width: int,
    keep: Collection[str] = (),
    layers: Collection[str] = (),
    others: Mapping[str, int] | None = None,
) -> int:
    """Return the size of tensors in memory as values of `width` bytes; `others` maps names to different widths.

    Tensors in `keep`, and packed or half-precision weights in `layers`, count in their stored form.
    """
    widths = others or {}

    def loaded(name: str, tensor: LazyTensor) -> int:
        if name in keep or (name in layers and stays_stored(tensor)):
            return stored_bytes([tensor])
        return math.prod(tensor.shape) * widths.get(name, width)

    return sum(loaded(name, tensor) for name, tensor in tensors.items())


def stays_stored(weight: LazyTensor) -> bool:
    """Whether a layer saves memory by keeping this weight in its stored form."""
    return isinstance(weight, PackedTensor) or weight.dtype in ("F16", "BF16")


def join_triplets(tensors: Mapping[str, LazyTensor], what: str, group_size: int | None = None) -> Tensors:
    """Combine the three tensors of each packed weight; keep all others. `what` names the file in messages.

    `group_size` comes from a manifest; without it, it is inferred from shapes. Raises MismatchError if tensors are
    missing, inconsistent, or not packed with 4 or 8 bits in groups of 32, 64 or 128.
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
    """Return the names of layers that have at least one tensor of a packed weight."""
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
                "a packed layer has .weight, .scales and .biases; download or convert the file again",
            )
        packed, scales, biases = (tensors[f"{base}.{part}"] for part in _PARTS)
        if packed.dtype != "U32":
            raise MismatchError(
                f"{what} mixes layouts: {base} has scales, but its weight is {packed.dtype} instead of packed U32",
                "convert the model again from its unpacked files",
            )
        if not is_float(scales) or scales.dtype != biases.dtype:
            raise MismatchError(
                f"{what}: {base} has {scales.dtype} scales and {biases.dtype} biases; both need the same "
                "floating-point type",
                DAMAGED,
            )
        is_matrix = len(packed.shape) == len(scales.shape) == 2
        if not is_matrix or scales.shape != biases.shape or packed.shape[0] != scales.shape[0]:
            shapes = ", ".join(f"{part} {list(tensors[f'{base}.{part}'].shape)}" for part in _PARTS)
            raise MismatchError(f"{what}: the shapes of {base} do not match: {shapes}", DAMAGED)


def _infer_group_size(tensors: Mapping[str, LazyTensor], bases: set[str], what: str) -> int:
    """Infer the group size from a layer whose number of inputs is known from its norm."""
    for base in sorted(bases):
        for layer, vector in _WIDTHS:
            norm = tensors.get(base.removesuffix(layer) + vector)
            if base.endswith(layer) and norm is not None and norm.shape:
                inputs, groups = norm.shape[0], tensors[f"{base}.scales"].shape[1]
                if not groups or inputs % groups:
                    fault = f"{inputs} inputs of {base} do not divide into {groups} groups"
                    raise MismatchError(f"{what}: {fault}", DAMAGED)
                return inputs // groups
    raise MismatchError(
        f"the group size of {what} is unknown",
        'add a manifest.json beside it with {"group_size": 64}, or another size',
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
            f"{what}: a row of {base} has {packed.shape[1]} words, which do not divide into values of 4 or 8 bits for "
            f"{inputs} inputs ({scales.shape[1]} groups of {group_size})",
            DAMAGED,
        )
    return join_packed(f"{base}.weight", packed, scales, biases, stored_bits // inputs, group_size)


def require_unpacked(name: str, layout: str, tensors: Mapping[str, object]) -> None:
    """Raise RequestError if weights of the checkpoint `name` are packed already."""
    if any(isinstance(tensor, PackedTensor) for tensor in tensors.values()):
        raise RequestError(f"{name} is already packed, as {layout}", "use the model that it was packed from")
