"""New adapters: A random, B or the core zero, magnitudes the norms of the weights, so that nothing changes yet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor, from_array
from soundloom.diffusion.noise import keyed_generator
from soundloom.lora.adapter import BORA_TYPES, COLS_TYPES, ROWS_TYPES, ModuleAdapter, is_xs
from soundloom.lora.bases import Bases, cached_bases, require_rank
from soundloom.lora.branches import Term
from soundloom.lora.modules import matrix_shape
from soundloom.lora.norms import LayerNorms
from soundloom.training.lora.config import AdapterConfig

START_STEP = 2**32 - 3  # step of the random numbers, which no training step uses


def start_adapter(
    weights: Mapping[str, LazyTensor], config: AdapterConfig, seed: int, bases: Mapping[str, Bases] | None = None
) -> dict[str, ModuleAdapter]:
    """Return a new adapter of all these weights, by names as in adapter files.

    The -xs types compute the singular vectors of layers that are not in `bases`. Raises MismatchError where their rank
    exceeds a weight's.
    """
    return {
        name: _start_module(name, weight, config, keyed_generator(seed, START_STEP, number), (bases or {}).get(name))
        for number, (name, weight) in enumerate(weights.items())
    }


def _start_module(
    name: str, weight: LazyTensor, config: AdapterConfig, rng: np.random.Generator, bases: Bases | None
) -> ModuleAdapter:
    outputs, inputs = matrix_shape(weight.shape)
    tensors: dict[str, Array] = {}
    if is_xs(config.type):
        require_rank(name, config.rank, weight.shape)
        tensors["M_xs"] = np.zeros((config.rank, config.rank), np.float32)
        found = bases or cached_bases(name, weight, config.rank)
        for kind, vectors in (("U", found.u), ("V", found.v)):
            tensors[kind] = np.asarray(vectors.numpy()[:, : config.rank], np.float32)
    else:
        bound = inputs**-0.5
        tensors["lora_A"] = rng.uniform(-bound, bound, (config.rank, inputs)).astype(np.float32)
        tensors["lora_B"] = np.zeros((outputs, config.rank), np.float32)
    tensors |= _magnitudes(weight, config.type)
    lazy = {kind: from_array(kind, array) for kind, array in tensors.items()}
    return ModuleAdapter(name, config.type, config.rank, config.scale, lazy)


def _magnitudes(weight: LazyTensor, adapter_type: str) -> dict[str, Array]:
    if adapter_type not in (*ROWS_TYPES, *COLS_TYPES, *BORA_TYPES):
        return {}
    rows, cols = (norms.astype(np.float32) for norms in LayerNorms(weight).streamed([Term()], []))
    if adapter_type in BORA_TYPES:
        return {"magnitude_r": rows, "magnitude_c": cols}
    return {"magnitude": rows if adapter_type in ROWS_TYPES else cols}
