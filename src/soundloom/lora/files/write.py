"""Write adapters in the native form, which the published package and other programs load too.

They expect one rank and one scale alpha / rank for all layers. Layers of smaller rank are therefore padded with zeros,
and a layer of another scale carries the difference in lora_B or M_xs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import Array, LazyTensor, from_array
from soundloom.errors import MismatchError, RequestError, shown
from soundloom.lora.adapter import Adapter, ModuleAdapter
from soundloom.lora.files.identity import BAKED
from soundloom.version import __version__

Dtype = Literal["F16", "F32"]
_DTYPES = {"F16": np.float16, "F32": np.float32}
_BASES = ("U", "V")
_RANK_AXES = {"lora_A": (0,), "lora_B": (1,), "M_xs": (0, 1), "U": (1,), "V": (1,)}
_SCALED = ("lora_B", "M_xs")  # the change of a weight is linear in these


def write_adapter(
    path: Path, adapter: Adapter, *, dtype: Dtype = "F16", slim: bool = False, uniform: bool = True
) -> None:
    """Write an adapter to a safetensors file, atomically.

    `slim` leaves out U and V of the -xs types, so that reading needs the same base. Without `uniform`, layers keep
    their ranks, which the published package does not load. Raises MismatchError for values that are not finite or
    too large.
    """
    if dtype not in _DTYPES:
        raise RequestError(f"adapters are not written in {shown(dtype)}", f"use {' or '.join(_DTYPES)}")
    if not adapter.modules:
        raise MismatchError(f"the adapter {adapter.name} changes no layer, so there is nothing to write")
    rank, alpha = _rank_and_alpha(adapter)
    tensors = [
        tensor
        for module in adapter.modules.values()
        for tensor in _tensors(adapter, module, dtype, slim, rank if uniform else module.rank, alpha)
    ]
    write_safetensors(path, tensors, {"lora_config": json.dumps(_config(adapter, rank, alpha)), **_metadata(adapter)})


def _rank_and_alpha(adapter: Adapter) -> tuple[int, float]:
    """Return the largest rank, and the alpha with which most layers keep their scale."""
    modules = adapter.modules.values()
    rank = max(module.rank for module in modules)
    scale = Counter(module.scale for module in modules).most_common(1)[0][0]
    if adapter.alpha / rank == scale:
        return rank, adapter.alpha
    return rank, scale * rank


def _config(adapter: Adapter, rank: int, alpha: float) -> dict[str, Any]:
    fields = {name: adapter.config.get(name) for name in ("dropout", "include", "exclude")}
    known = {"rank": rank, "alpha": alpha, "adapter_type": adapter.type, **fields, "dropout": fields["dropout"] or 0.0}
    return {**adapter.config, **known, "soundloom": __version__}


def _metadata(adapter: Adapter) -> dict[str, str]:
    items = adapter.metadata.items()
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in items}


def _tensors(
    adapter: Adapter, module: ModuleAdapter, dtype: Dtype, slim: bool, rank: int, alpha: float
) -> Iterator[LazyTensor]:
    """Yield the tensors of a layer, padded to `rank` and scaled so that alpha / rank is the scale."""
    factor = module.scale * rank / alpha if alpha else 1.0
    for kind, tensor in module.tensors.items():
        if slim and kind in _BASES:
            continue
        name = f"{module.name}.parametrizations.weight.0.{kind}"
        if tensor.dtype == dtype and rank == module.rank and (factor == 1 or kind not in _SCALED):
            yield tensor.renamed(name)
            continue
        values = module.array(kind)
        if kind in _SCALED and factor != 1:
            values = values * np.float32(factor)
        values = _padded(values, kind, rank - module.rank)
        yield from_array(name, _cast(adapter, module.name, kind, values, "F32" if kind == BAKED else dtype))


def _padded(values: Array, kind: str, missing: int) -> Array:
    if not missing or kind not in _RANK_AXES:
        return values
    return np.pad(values, [(0, missing if axis in _RANK_AXES[kind] else 0) for axis in range(values.ndim)])


def _cast(adapter: Adapter, layer: str, kind: str, values: Array, dtype: Dtype) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        cast = values.astype(_DTYPES[dtype])
    if not np.isfinite(cast).all():
        whole = np.isfinite(values).all()
        what = f"is too large for {dtype}" if whole else "holds values that are not finite"
        raise MismatchError(f"{kind} of {layer} in {adapter.name} {what}", "write it as F32" if whole else "")
    return cast
