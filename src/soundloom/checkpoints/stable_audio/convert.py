"""From one layout to another, with an account of what the way did to the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.atomic import atomic_folder
from soundloom.checkpoints.formats.packed import stored_bytes
from soundloom.checkpoints.formats.tensors import Tensors
from soundloom.checkpoints.hashes import HASHES_FILE, is_made_by, write_hashes
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
_FOLDING = 1e-6  # relative; what folding a weight norm and float32 rounding may change


@dataclass(frozen=True)
class PartReport:
    """One part of a model before and after. `error` is the root of the mean square change, relative to the values.

    `kept` is false where the layout has no place for the part. `changed` counts tensors whose values are not equal.
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
            return f"{self.part}: left out, the layout has no place for it"
        if not self.changed:
            return f"{self.part}: {sizes}, all {self.tensors} tensors exact"
        rounded = f"{self.changed} of {self.tensors} tensors rounded"
        return f"{self.part}: {sizes}, {rounded}, relative error {self.error:.1e}"


def convert(source: Checkpoint, folder: Path, layout: str, group_size: int = DEFAULT_GROUP_SIZE) -> list[PartReport]:
    """Write a checkpoint in another layout and compare what was written with what was read.

    Raises RequestError for a layout or group size that cannot be, or a folder that holds something else than an earlier
    result of the same conversion.
    """
    made = {"command": "convert", "from": source.fingerprint, "layout": layout, "group": group_size}
    require_room(folder, made)
    tensors = dict(source.tensors)
    if layout in ("published", "same-only"):
        tensors = {name: tensor.cast("F32") for name, tensor in tensors.items()}
    name = source.name if find_entry(source.name) else ""
    with atomic_folder(folder) as new:
        save_checkpoint(new, layout, source.config, tensors, source.text_encoder, name, group_size)
        write_hashes(new, made)
        return compare(source, open_checkpoint(new))


def require_empty(folder: Path) -> None:
    """Raise RequestError where writing a model would mix it with other files."""
    if folder.exists() and (not folder.is_dir() or not is_empty(folder)):
        raise RequestError(f"{folder} exists already and is not an empty folder", "name another folder")
    if folder.resolve() == Path.cwd():
        raise RequestError(f"{folder} is the folder that this runs in", "name a new folder")


def require_room(folder: Path, made: Mapping[str, Any] | None = None) -> None:
    """The same, but allow the undamaged result of the same command, which a killed process may have finished.

    `made` is what `write_hashes` is going to note. Without it, before the model is open, any such result passes.
    """
    is_same = (folder / HASHES_FILE).is_file() if made is None else is_made_by(folder, made)
    if not is_same or folder.resolve() == Path.cwd():
        require_empty(folder)


def compare(before: Checkpoint, after: Checkpoint) -> list[PartReport]:
    """How each part of a model differs between two checkpoints of it."""
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
    """Everything by name, weight norms folded: layouts share the product, not the way it is stored."""
    text = checkpoint.text_encoder
    tensors = {**checkpoint.tensors, **(text.tensors if text else {})}
    for name in [name for name in tensors if name.endswith(".weight_v")]:
        base = name.removesuffix("_v")
        tensors[base] = fold_weight_norm(tensors.pop(f"{base}_g"), tensors.pop(name))
    return tensors


def _is_folded(name: str) -> bool:
    return name.endswith("mapping.weight")
