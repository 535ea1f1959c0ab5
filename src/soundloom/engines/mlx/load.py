"""Load modules from a checkpoint's memory-mapped tensors, one tensor at a time to bound memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten

from soundloom.checkpoints.compare import require_match
from soundloom.checkpoints.formats.packed import PackedTensor, loaded_bytes, stays_stored
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.shapes import is_ignorable
from soundloom.engines.mlx.paths import assign, find
from soundloom.engines.mlx.quantized import PackedLinear, StoredLinear
from soundloom.errors import CheckpointError
from soundloom.memory import require_memory

Module = TypeVar("Module", bound=nn.Module)


def load_module(
    build: Callable[[], Module],
    tensors: Mapping[str, LazyTensor],
    label: str,
    dtype: mx.Dtype = mx.float32,
    keep: Collection[str] = (),
) -> Module:
    """Build a module and load the tensors, whose names and shapes must match its own.

    Parameters become `dtype`, except those in `keep`, which stay in the dtype of their file. If any weight is packed,
    the weights of linear layers stay as stored. `label` names the module in messages. Raises MismatchError for names or
    shapes, CheckpointError for weights that are not finite.
    """
    module = build()  # MLX is lazy: initial weights are never computed
    mx.eval(mx.random.state)  # else unevaluated splits of the random key pile up from load to load
    expected = {name: tuple(parameter.shape) for name, parameter in named_parameters(module).items()}
    chosen = require_match({name: t for name, t in tensors.items() if not is_ignorable(name)}, expected, label)
    is_packed = any(isinstance(stored, PackedTensor) for stored in chosen.values())
    layers = _layer_weights(module) if is_packed else set()
    require_memory(loaded_bytes(chosen, dtype.size, keep, layers), label)
    for name, stored in chosen.items():
        lazy = stored.renamed(name)  # the stored name has the checkpoint's prefix
        as_stored = is_packed and _replace_layer(module, lazy, dtype)
        for part in lazy.parts if as_stored else (lazy,):
            array = to_array(part)
            if name not in keep:
                array = array if as_stored else array.astype(dtype)
                _require_finite(array, part.name, label)
            mx.eval(array)  # else the stored dtype stays in memory next to the module's
            assign(module, part.name, array)
    module.eval()
    module.freeze()
    return module


def named_parameters(module: nn.Module) -> dict[str, mx.array]:
    """Return all parameters of a module by their checkpoint names."""
    flat: Any = tree_flatten(module.parameters())
    return dict(flat)


def to_array(lazy: LazyTensor) -> mx.array:
    """Copy a stored or derived tensor; BF16, which NumPy lacks, is viewed as 16-bit integers."""
    if lazy.dtype == "BF16" and lazy.is_raw:
        return mx.array(lazy.buffer().view(np.uint16).reshape(lazy.shape)).view(mx.bfloat16)
    return mx.array(lazy.numpy())


def _layer_weights(module: nn.Module) -> set[str]:
    """Return the names of the weights of linear layers."""
    layers: Any = module.named_modules()
    return {f"{path}.weight".lstrip(".") for path, layer in layers if isinstance(layer, nn.Linear)}


def _replace_layer(module: nn.Module, weight: LazyTensor, dtype: mx.Dtype) -> bool:
    """Replace the linear layer of a weight by one for stored weights; return False if it would save nothing."""
    path, _, parameter = weight.name.rpartition(".")
    layer = find(module, path.split(".")) if path else module
    if not isinstance(layer, nn.Linear) or parameter != "weight":
        return False
    outputs, inputs = weight.shape
    sizes = (inputs, outputs, "bias" in layer, dtype)
    if isinstance(weight, PackedTensor):
        assign(module, path, PackedLinear(*sizes, weight.bits, weight.group_size))
    elif stays_stored(weight):
        assign(module, path, StoredLinear(*sizes))
    else:
        return False
    return True


def _require_finite(array: mx.array, name: str, label: str) -> None:
    if mx.issubdtype(array.dtype, mx.floating) and not mx.isfinite(array).all().item():
        raise CheckpointError(
            f"{label}: weight {name} contains values that are not finite",
            "the file is damaged or was converted wrongly; download it again",
        )
