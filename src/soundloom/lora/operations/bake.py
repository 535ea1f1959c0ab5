"""Store the norms of adapted rows in an adapter: those of W + scale * change, at strength 1.

Programs that cannot read the weights of a model quickly use them; soundloom itself computes the norms. The metadata
are those of the later published package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor, from_array
from soundloom.errors import MismatchError, RequestError
from soundloom.lora.adapter import ROWS_TYPES, Adapter, ModuleAdapter, is_xs
from soundloom.lora.arithmetic import row_norms
from soundloom.lora.operations.weights import reading
from soundloom.version import __version__

BAKED = "baked_vnorm_row"
_SHA_DIGITS = 32


def bake(
    adapter: Adapter, weights: Mapping[str, LazyTensor], model: str, *, bases: str = "none", now: datetime | None = None
) -> Adapter:
    """Return an adapter of a dora-rows type with the norms for the weights of `model` in float32.

    `bases` names the bases file of the -xs types. Raises RequestError for other types, and MismatchError.
    """
    if adapter.type not in ROWS_TYPES:
        raise RequestError(f"{adapter.name} is of type {adapter.type}; only {' and '.join(ROWS_TYPES)} have such norms")
    modules, digest = {}, hashlib.sha256()
    for name, module in adapter.modules.items():
        if name not in weights:
            raise MismatchError(f"{model} has no layer {name}, which {adapter.name} changes")
        with reading(weights[name]) as weight:
            digest.update(np.ascontiguousarray(weight).data)
            modules[name] = module.with_tensors(**{BAKED: from_array(BAKED, baked_norms(module, weight))})
    config = {**adapter.config, "baked_norms": len(modules), "norm_base": model}
    metadata = {
        **adapter.metadata,
        "base_model": str(adapter.config.get("base_model") or model),
        "norm_source": model,
        "norm_base_sha": digest.hexdigest()[:_SHA_DIGITS],
        "baked_variant": adapter.type,
        "baked_norms": str(len(modules)),
        "baked_xs_svd": f"external:{bases}" if is_xs(adapter.type) and bases != "none" else "none",
        "baked_by": f"soundloom {__version__}",
        "baked_at": (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return replace(adapter, modules=modules, config=config, metadata=metadata)


def baked_norms(module: ModuleAdapter, weight: Array) -> Array:
    """Return the norms (out,) of the rows of W (out, in) plus the change, float32."""
    down, up = module.factors()
    return row_norms(weight + np.float32(module.scale) * (up @ down)).astype(np.float32)


def baked_difference(adapter: Adapter, weights: Mapping[str, LazyTensor]) -> float:
    """Return the largest relative difference of stored norms from those for these weights; 0 if none are stored.

    Base models and post-trained ones differ by about 2e-3.
    """
    worst = 0.0
    for name, module in adapter.modules.items():
        if BAKED in module.tensors and name in weights and module.has_factors:
            with reading(weights[name]) as weight:
                stored, computed = module.array(BAKED), baked_norms(module, weight)
            worst = max(worst, float(np.linalg.norm(stored - computed) / (np.linalg.norm(computed) or 1.0)))
    return worst
