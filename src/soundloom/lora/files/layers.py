"""Check the tensors of one layer against each other, and bring them into the shapes of the modern form.

Letters: r rank, A (r, in), B (out, r), M (r, r), U (out, r), V (in, r); magnitudes have one axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.errors import shown
from soundloom.lora.adapter import TYPES, kinds_of
from soundloom.lora.files.identity import BAKED
from soundloom.lora.files.parts import mismatch, reshaped

Variant = Literal["rows", "cols"]
MAGNITUDES = ("magnitude", "magnitude_r", "magnitude_c", BAKED)
BASES = ("U", "V")
DROPPED = ("lora_dropout_mask",)  # of state dicts that were saved whole: it has no effect

_FAMILIES = {frozenset(kinds_of(name)): name.replace("-rows", "").replace("-cols", "") for name in TYPES}
KINDS = frozenset().union(*_FAMILIES, BASES, (BAKED,))


@dataclass(frozen=True)
class Layer:
    """The tensors of a layer in modern shapes. `family` is a type without `-rows` or `-cols`.

    `outputs` and `inputs` are None where no tensor tells them. `variant` is what a magnitude of two axes says.
    """

    name: str
    family: str
    rank: int
    outputs: int | None
    inputs: int | None
    variant: Variant | None
    tensors: Mapping[str, LazyTensor]


def check_layer(path: Path, name: str, tensors: Mapping[str, LazyTensor]) -> Layer:
    """Return the checked tensors of a layer. Raises MismatchError."""
    found = {kind: tensor for kind, tensor in tensors.items() if kind not in DROPPED}
    family = _family(path, name, found)
    variant = _variant(found["magnitude"].shape) if "magnitude" in found else None
    found = {kind: _modern(path, name, kind, tensor) for kind, tensor in found.items()}
    rank = found["M_xs" if "M_xs" in found else "lora_A"].shape[0]
    outputs, inputs = (_length(found, pair) for pair in (("lora_B", "U"), ("lora_A", "V")))
    expected = {
        "lora_A": (rank, inputs),
        "lora_B": (outputs, rank),
        "M_xs": (rank, rank),
        "U": (outputs, rank),
        "V": (inputs, rank),
        "magnitude_r": (outputs,),
        "magnitude_c": (inputs,),
        BAKED: (outputs,),
    }
    for kind, tensor in found.items():
        sizes = expected.get(kind, tensor.shape)
        if any(size not in (None, have) for size, have in zip(sizes, tensor.shape, strict=True)):
            have = f"{kind} of shape {list(tensor.shape)}"
            raise mismatch(path, f"has {have} for {shown(name)}, which its other tensors contradict")
    most = min(outputs or rank, inputs or rank)
    if family.endswith("-xs") and rank > most:
        raise mismatch(path, f"has rank {rank} for {shown(name)}, more than its {most} rows or columns")

    return Layer(name, family, rank, outputs, inputs, variant, found)


def _family(path: Path, name: str, tensors: Mapping[str, LazyTensor]) -> str:
    unknown = [kind for kind in tensors if kind not in KINDS]
    if unknown:
        raise mismatch(path, f"has a tensor of the unknown kind {shown(unknown[0])} for {shown(name)}")
    family = _FAMILIES.get(frozenset(tensors) - {*BASES, BAKED})
    has_bases = [kind for kind in BASES if kind in tensors]
    odd_bases = bool(has_bases) and (len(has_bases) == 1 or not (family or "").endswith("-xs"))
    if family is None or odd_bases or (BAKED in tensors and not family.startswith("dora")):
        have = ", ".join(sorted(tensors))
        hint = "lora_A and lora_B, or M_xs, with magnitude, or with magnitude_r and magnitude_c, make a layer"
        raise mismatch(path, f"has {have or 'no tensors'} for {shown(name)}, which no adapter type has", hint)
    return family


def _modern(path: Path, name: str, kind: str, tensor: LazyTensor) -> LazyTensor:
    """Return a tensor as matrix, or as vector for magnitudes. Kernels of convolutions are joined to the inputs."""
    shape = tensor.shape
    count: int = math.prod(shape)
    if kind in MAGNITUDES:
        if count and max(shape, default=0) == count:
            return reshaped(tensor, (count,))
    elif count and len(shape) > 1 and (kind == "lora_A" or count == shape[0] * shape[1]):
        return reshaped(tensor, (shape[0], count // shape[0]))
    raise mismatch(path, f"has {kind} of shape {list(shape)} for {shown(name)}, which is no shape for it")


def _variant(shape: tuple[int, ...]) -> Variant | None:
    """Return which norms a magnitude of several axes holds: (out, 1) of rows, (1, in) of columns."""
    longest = max(shape, default=1)
    if len(shape) < 2 or longest == 1:
        return None
    return "rows" if shape[0] == longest else "cols" if shape[1] == longest else None


def _length(tensors: Mapping[str, LazyTensor], kinds: tuple[str, str]) -> int | None:
    """Return outputs of (lora_B, U), or inputs of (lora_A, V)."""
    factor, base = kinds
    if factor in tensors:
        return tensors[factor].shape[1 if factor == "lora_A" else 0]
    return tensors[base].shape[0] if base in tensors else None
