"""Merge adapters into the weights of a checkpoint, in float32 and without writing a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.tensors import Array, LazyTensor
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.stable_audio.adapters import Combine
from soundloom.errors import RequestError
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.compile import LayerParts
from soundloom.lora.modules import weight_key


def merged_checkpoint(checkpoint: Checkpoint, layers: LayerParts, combine: Combine = "chain") -> Checkpoint:
    """Return a checkpoint whose weights are adapted when they are read; those of adapted layers are float32.

    Raises RequestError for packed weights: their steps are larger than most of what adapters change.
    """
    tensors = dict(checkpoint.tensors)
    for name, parts in layers.items():
        key = weight_key(name)
        weight = tensors[key]
        if isinstance(weight, PackedTensor):
            raise RequestError(
                f"adapters cannot be merged into {checkpoint.name}, whose weights are quantized in the file",
                "use them without merging, or merge them into the original model and quantize that",
            )
        tensors[key] = _merged(weight, parts, combine)
    # Without files, what is derived from the weights is not cached under the original's name.
    return replace(checkpoint, tensors=tensors, files=())


def _merged(weight: LazyTensor, parts: Sequence[AdapterPart], combine: Combine) -> LazyTensor:
    def read() -> Array:
        return adapted_weight(weight.numpy(), parts, combine)

    return LazyTensor(weight.name, "F32", weight.shape, read, stored=False)
