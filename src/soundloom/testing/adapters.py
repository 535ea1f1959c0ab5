"""Create LoRA adapters with random values, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from soundloom.checkpoints.formats.tensors import LazyTensor, from_array
from soundloom.lora.adapter import Adapter, AdapterType, ModuleAdapter, kinds_of
from soundloom.lora.modules import matrix_shape
from soundloom.lora.patterns import select


def make_adapter(
    shapes: Mapping[str, tuple[int, ...]],
    adapter_type: AdapterType = "lora",
    seed: int = 0,
    patterns: Sequence[str] = ("core",),
    size: float = 1.0,
    rank: int = 4,
    weights: Mapping[str, LazyTensor] | None = None,
) -> Adapter:
    """Return an adapter of the layers that match patterns, whose changes are about `size` times half of the weights.

    Norms are near those of `weights`, or of random ones.
    """
    modules = {}
    for number, name in enumerate(select(shapes, patterns)):
        outputs, inputs = matrix_shape(shapes[name])
        used = min(rank, outputs, inputs)
        rng = np.random.default_rng((seed, number))
        weight = None if weights is None else np.asarray(weights[name].numpy(), np.float32).reshape(outputs, inputs)
        scale = inputs**-0.5 if weight is None else float(weight.std())
        u, v = rng.normal(size=(outputs, used)) / used**0.5, rng.normal(size=(used, inputs))
        if weight is None:
            rows, cols = np.full(outputs, scale * inputs**0.5), np.full(inputs, scale * outputs**0.5)
        else:
            rows, cols = np.linalg.norm(weight, axis=1), np.linalg.norm(weight, axis=0)
        values = {"lora_A": v, "lora_B": u * scale * size / 2, "magnitude_r": rows * 1.1, "magnitude_c": cols * 0.95}
        values["M_xs"] = rng.normal(size=(used, used)) * scale * size * (outputs + inputs) ** 0.5 / 2
        values["magnitude"] = cols * 1.1 if "cols" in adapter_type else rows * 0.9
        tensors = {kind: from_array(kind, values[kind].astype(np.float32)) for kind in kinds_of(adapter_type)}
        modules[name] = ModuleAdapter(name, adapter_type, used, 1.0, tensors)
    return Adapter(f"{adapter_type}-{seed}", adapter_type, rank, float(rank), modules)
