"""Write a model whose weights include adapters, from weights in full precision, rounded once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundloom.atomic import atomic_folder, write_json
from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE
from soundloom.checkpoints.stable_audio.convert import require_empty_or_same
from soundloom.checkpoints.stable_audio.open import CONFIG_FILE, Checkpoint
from soundloom.checkpoints.stable_audio.save import save_checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.config.parse import to_dict
from soundloom.config.stable_audio.adapters import Combine
from soundloom.errors import RequestError
from soundloom.lora.compile import LayerParts
from soundloom.lora.merging import merged_checkpoint


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
    made = json.loads(json.dumps(made))  # as a later run of the same command reads it
    require_empty_or_same(folder, made)
    tensors = dict(merged_checkpoint(checkpoint, layers, combine).tensors)
    if layout == "published":
        tensors = {name: tensor.cast("F32") for name, tensor in tensors.items()}
    name = checkpoint.name if find_entry(checkpoint.name) else ""
    with atomic_folder(folder) as new:
        text_encoder, metadata = checkpoint.text_encoder, {"merged": json.dumps(made)}
        save_checkpoint(new, layout, checkpoint.config, tensors, text_encoder, name, group_size, metadata)
        # Components without a configuration would count as those of the published model.
        write_json(new / CONFIG_FILE, to_dict(checkpoint.config))
        write_hashes(new, made)
