"""Check that all values of an adapter are finite, find layers of zeros, and hash the values, in one pass.

The hash identifies what an adapter sounds like on a given model: it covers names, types, scales and values of all
layers, but neither dtype, metadata nor container. The same values in float16, float32, a pickle or a PEFT folder have
the same hash. Baked norms are left out, since they only save time. U and V of the -xs types count if they are stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor
from soundloom.errors import shown
from soundloom.lora.adapter import ModuleAdapter
from soundloom.lora.files.parts import mismatch, some

BAKED = "baked_vnorm_row"
_NEVER_ZERO = ("lora_A", "magnitude", "magnitude_r", "magnitude_c")  # as a whole, in any state of training
_EXPONENT = np.uint16(0x7C00)  # bits of float16 that are all set in infinities and NaN
_CHUNK = 1 << 18  # values


def check_values(modules: Mapping[str, ModuleAdapter], path: Path) -> tuple[str, list[str]]:
    """Return the hash of an adapter in hexadecimal digits, and notices.

    Raises MismatchError for values that are not finite.
    """
    digest = hashlib.sha256()
    empty = []
    for name, module in sorted(modules.items()):
        scale = float(np.float32(module.scale)).hex()
        for kind, tensor in sorted(module.tensors.items()):
            values = _exact_values(tensor)
            if values is None:
                raise mismatch(path, f"holds values that are not finite in {kind} of {shown(name)}")
            if kind in _NEVER_ZERO and not values.flat[0] and not values.any():  # the first value is quicker to check
                empty.append(name)
            if kind != BAKED:
                head = [name, module.type, scale, kind, list(tensor.shape), str(values.dtype)]
                digest.update(json.dumps(head).encode())
                digest.update(np.ascontiguousarray(values).data)
    if not empty:
        return digest.hexdigest(), []
    return digest.hexdigest(), [f"{len(empty)} layers hold only zeros ({some(empty)}): the file may be half-written"]


def _exact_values(tensor: LazyTensor) -> Array | None:
    """Return the values in float16 if it holds them exactly, else in float32; None if some are not finite."""
    if tensor.dtype == "F16":
        half = np.ascontiguousarray(tensor.numpy())
        return half if _is_finite(half) else None
    values = np.asarray(tensor.numpy(), np.float32)
    if not np.isfinite(values).all():
        return None
    with np.errstate(over="ignore", under="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half, values) else values


def _is_finite(half: Array) -> bool:
    bits = half.reshape(-1).view(np.uint16)
    parts = (bits[start : start + _CHUNK] for start in range(0, bits.size, _CHUNK))
    return all((part & _EXPONENT).max() < _EXPONENT for part in parts)
