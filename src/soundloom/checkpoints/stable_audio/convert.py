"""Convert a checkpoint to another layout, and report how its values changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.atomic import atomic_folder
from soundloom.checkpoints.formats.packed import stored_bytes
from soundloom.checkpoints.formats.tensors import Tensors
from soundloom.checkpoints.hashes import HASHES_FILE, is_result_of, write_hashes
from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE
from soundloom.checkpoints.stable_audio.layouts import fold_weight_norm
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint
from soundloom.checkpoints.stable_audio.save import save_checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, SAME_PREFIX
from soundloom.config.catalogue import find_entry
from soundloom.errors import RequestError
from soundloom.temporary import is_empty

_PARTS = {
    "transformer": DIT_PREFIX,
    "conditioner": CONDITIONER_PREFIX,
    "autoencoder": SAME_PREFIX,
    "text encoder": "model.encoder.",
}
_FOLDING = 1e-6  # relative change that folding a weight norm in float32 may cause


@dataclass(frozen=True)
class PartReport:
    """One part of a model before and after conversion. `error` is the root mean square change relative to the values.

    `kept` is false if the layout cannot store the part. `changed` counts tensors whose values differ.
    """

    part: str
    tensors: int
    changed: int
    error: float
    bytes_before: int
    bytes_after: int
    kept: bool = True

    def __str__(self) -> str:
        sizes = f"{self.bytes_before / 1e6:.1f} to {self.bytes_after / 1e6:.1f} MB"
        if not self.kept:
            return f"{self.part}: dropped, the layout cannot store it"
        if not self.changed:
            return f"{self.part}: {sizes}, all {self.tensors} tensors exact"
        rounded = f"{self.changed} of {self.tensors} tensors rounded"
        return f"{self.part}: {sizes}, {rounded}, relative error {self.error:.1e}"


def convert(source: Checkpoint, folder: Path, layout: str, group_size: int = DEFAULT_GROUP_SIZE) -> list[PartReport]:
    """Write a checkpoint in another layout, and compare the result with the source.

    Raises RequestError for an invalid layout or group size, or a folder that is not empty, unless it holds an earlier
    result of the same conversion.
    """
    provenance = {"command": "convert", "from": source.fingerprint, "layout": layout, "group": group_size}
    require_empty_or_same(folder, provenance)
    tensors = dict(source.tensors)
    if layout in ("published", "same-only"):
        tensors = {name: tensor.cast("F32") for name, tensor in tensors.items()}
    name = source.name if find_entry(source.name) else ""
    with atomic_folder(folder) as new:
        save_checkpoint(new, layout, source.config, tensors, source.text_encoder, name, group_size)
        write_hashes(new, provenance)
        return compare(source, open_checkpoint(new))


def require_empty(folder: Path) -> None:
    """Raise RequestError if a model's folder is not empty or the working directory."""
    if folder.exists() and (not folder.is_dir() or not is_empty(folder)):
        raise RequestError(f"{folder} already exists and is not an empty folder", "choose another folder")
    if folder.resolve() == Path.cwd():
        raise RequestError(f"{folder} is the working directory", "choose a new folder")


def require_empty_or_same(folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Do the same, but accept an undamaged result of the same command, which may have been killed at its end.

    `provenance` is that of `write_hashes`. Without it, before the model is open, any recorded result is accepted.
    """
    is_same = (folder / HASHES_FILE).is_file() if provenance is None else is_result_of(folder, provenance)
    if not is_same or folder.resolve() == Path.cwd():
        require_empty(folder)


def compare(before: Checkpoint, after: Checkpoint) -> list[PartReport]:
    """Compare the parts of two checkpoints of the same model."""
    mine, others = _all_tensors(before), _all_tensors(after)
    parts = ({name for name in mine if name.startswith(prefix)} for prefix in _PARTS.values())
    return [_compare_part(part, names, mine, others) for part, names in zip(_PARTS, parts, strict=True) if names]


def _compare_part(part: str, names: set[str], before: Tensors, after: Tensors) -> PartReport:
    kept = names <= after.keys()
    changed, noise, signal = 0, 0.0, 0.0
    for name in names if kept else ():
        old, new = (tensors[name].numpy().astype(np.float64) for tensors in (before, after))
        difference, size = float(np.square(new - old).sum()), float(np.square(old).sum())
        changed += difference > _FOLDING**2 * size if _is_folded(name) else not np.array_equal(old, new)
        noise, signal = noise + difference, signal + size
    size_before, size_after = (stored_bytes(t[name] for name in names if name in t) for t in (before, after))
    error = (noise / signal) ** 0.5 if signal else 0.0
    return PartReport(part, len(names), changed, error, size_before, size_after, kept)


def _all_tensors(checkpoint: Checkpoint) -> Tensors:
    """Return all tensors by name, with weight norms folded, since layouts store them differently."""
    text = checkpoint.text_encoder
    tensors = {**checkpoint.tensors, **(text.tensors if text else {})}
    for name in [name for name in tensors if name.endswith(".weight_v")]:
        base = name.removesuffix("_v")
        tensors[base] = fold_weight_norm(tensors.pop(f"{base}_g"), tensors.pop(name))
    return tensors


def _is_folded(name: str) -> bool:
    return name.endswith("mapping.weight")
