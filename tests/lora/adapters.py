"""Made adapters and weights."""

from __future__ import annotations

import numpy as np

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.lora.adapter import AdapterType, ModuleAdapter, is_xs, kinds_of

OUT, IN, RANK = 320, 128, 4


def make_weight(seed: int = 0, shape: tuple[int, ...] = (OUT, IN)) -> np.ndarray:
    """Return a weight whose values have a standard deviation of 0.1."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) / 10


def make_module(
    adapter_type: AdapterType,
    seed: int = 1,
    shape: tuple[int, int] = (OUT, IN),
    name: str = "model.layer",
    rank: int = RANK,
) -> ModuleAdapter:
    """Return an adapter that changes a weight of `shape` by about its own size."""
    rng = np.random.default_rng(seed)
    outputs, inputs = shape
    shapes = {"lora_A": (rank, inputs), "lora_B": (outputs, rank), "M_xs": (rank, rank)}
    shapes |= {"U": (outputs, rank), "V": (inputs, rank), "magnitude_r": (outputs,), "magnitude_c": (inputs,)}
    shapes["magnitude"] = (inputs,) if "cols" in adapter_type else (outputs,)
    tensors = {}
    for kind in (*kinds_of(adapter_type), *(("U", "V") if is_xs(adapter_type) else ())):
        values = rng.normal(size=shapes[kind]) / 6
        if kind.startswith("magnitude"):
            across = outputs if "cols" in adapter_type or kind == "magnitude_c" else inputs
            values = 0.1 * across**0.5 * (1 + values)
            values[::17] *= -1  # nothing in training keeps magnitudes positive
        tensors[kind] = from_array(kind, values.astype(np.float32))
    return ModuleAdapter(name, adapter_type, rank, 1.5, tensors)
