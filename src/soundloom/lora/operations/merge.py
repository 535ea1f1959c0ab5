"""Write a model whose weights include adapters, from weights in full precision, rounded once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundloom.atomic import atomic_folder
from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.tensors import Array, LazyTensor, Tensors
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE
from soundloom.checkpoints.stable_audio.convert import require_empty_or_same
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.save import save_checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.config.stable_audio.adapters import Combine
from soundloom.errors import RequestError
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.modules import weight_key

LayerParts = Mapping[str, Sequence[AdapterPart]]


def merged_tensors(checkpoint: Checkpoint, layers: LayerParts, combine: Combine = "chain") -> Tensors:
    """Return the tensors of a checkpoint with adapters merged in, computed when they are read; the others as stored."""
    merged = dict(checkpoint.tensors)
    for name, parts in layers.items():
        key = weight_key(name)
        merged[key] = _merged(merged[key], parts, combine)
    return merged


def _merged(weight: LazyTensor, parts: Sequence[AdapterPart], combine: Combine) -> LazyTensor:
    def compute() -> Array:
        return adapted_weight(weight.numpy(), parts, combine)

    return LazyTensor(weight.name, "F32", weight.shape, compute, stored=False)


def require_full_precision(checkpoint: Checkpoint) -> None:
    """Raise RequestError for packed weights: the change of an adapter is often smaller than their steps."""
    if any(isinstance(tensor, PackedTensor) for tensor in checkpoint.tensors.values()):
        raise RequestError(
            f"{checkpoint.name} is packed, as {checkpoint.layout}; adapters are merged in full precision only",
            "merge into the model that it was packed from, then use `soundloom quantize`",
        )


def merge(
    checkpoint: Checkpoint,
    layers: LayerParts,
    folder: Path,
    provenance: Mapping[str, Any],
    *,
    combine: Combine = "chain",
    layout: str = "published",
    group_size: int = DEFAULT_GROUP_SIZE,
) -> None:
    """Write a checkpoint with adapters merged in to a folder, in any layout; `provenance` goes into its metadata.

    Raises RequestError for packed weights, or for a folder that holds something else.
    """
    require_full_precision(checkpoint)
    made = {"command": "lora merge", "from": checkpoint.fingerprint, "layout": layout, "combine": combine, **provenance}
    require_empty_or_same(folder, made)
    tensors = merged_tensors(checkpoint, layers, combine)
    if layout == "published":
        tensors = {name: tensor.cast("F32") for name, tensor in tensors.items()}
    name = checkpoint.name if find_entry(checkpoint.name) else ""
    with atomic_folder(folder) as new:
        text_encoder, metadata = checkpoint.text_encoder, {"merged": json.dumps(made)}
        save_checkpoint(new, layout, checkpoint.config, tensors, text_encoder, name, group_size, metadata)
        write_hashes(new, made)
