"""Convert adapters of the -xs types to the types with free factors: B = U M and A = V', exactly."""

from __future__ import annotations

from typing import cast

import numpy as np

from soundloom.errors import RequestError
from soundloom.lora.adapter import Adapter, AdapterType, ModuleAdapter, is_xs
from soundloom.lora.operations.build import build_module, same_file

_BASES = ("U", "V", "M_xs")


def to_lora(adapter: Adapter) -> Adapter:
    """Return an adapter of an -xs type as the type without -xs; alpha, magnitudes and metadata stay.

    Other adapters are returned as they are. Raises RequestError if U and V are missing: see `bases.with_bases`.
    """
    if not is_xs(adapter.type):
        return adapter
    lacking = [name for name, module in adapter.modules.items() if not module.has_factors]
    if lacking:
        raise RequestError(
            f"{adapter.name} stores no singular vectors (of {lacking[0]}, for example), which {adapter.type} needs",
            "name the model that it was trained on with --model, or a bases file with --bases",
        )
    new_type = cast(AdapterType, adapter.type.removesuffix("-xs"))
    modules = {name: _free(module, new_type) for name, module in adapter.modules.items()}
    return same_file(adapter, new_type, modules)


def _free(module: ModuleAdapter, new_type: AdapterType) -> ModuleAdapter:
    u, core, v = (module.array(kind) for kind in ("U", "M_xs", "V"))
    others = {kind: module.array(kind) for kind in module.tensors if kind not in _BASES}
    arrays = {"lora_A": np.ascontiguousarray(v.T), "lora_B": u @ core, **others}
    return build_module(module.name, new_type, module.scale, arrays)
